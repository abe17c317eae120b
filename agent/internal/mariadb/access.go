package mariadb

import (
	"slices"
	"strconv"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// noAccess are MariaDB's refusals of an account or of what it may do: no time heals them. Too many
// connections (1040, 1203, 1226) is none of them.
var noAccess = []int{
	1044, // no right to a database
	1045, // password, where the socket was to do
	1130, // no account for this host
	1142, // no right to a table
	1143, // no right to a column
	1227, // no such privilege
	1370, // no right to a routine
	1524, // the account's plugin is not loaded
	1698, // the socket's user is another one
	1820, // the password must be changed first
	1862, // the password has expired
	4151, // the account is locked
}

func denied(err error) bool { return slices.Contains(noAccess, errno(err)) }

// accessDenied says how the agent gets in again.
func accessDenied(what string, cause error) error {
	return unsafe(errorsv1.Reason_REASON_MARIADB_ACCESS_DENIED,
		what+": MariaDB refuses root@localhost over its socket", errs.Wrap(cause),
		errs.Meta("errno", strconv.Itoa(errno(cause))),
		errs.WithHint("let root@localhost in by the socket, with all rights (ALTER USER "+
			"root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING "+
			"PASSWORD('...'); GRANT ALL ON *.* TO root@localhost WITH GRANT OPTION), then call "+
			"again"))
}
