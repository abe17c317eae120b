package kit

import (
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// NotAnswering is the error of a MariaDB that does not answer: waited for, unless no wait can help.
func NotAnswering(server string, st replication.Status) error {
	if st.AccessDenied {
		return Refuse(errorsv1.Reason_REASON_MARIADB_ACCESS_DENIED,
			Hint("let root@localhost in by the socket on "+server+", with all rights (ALTER USER "+
				"root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING "+
				"PASSWORD('...')), then ask again"),
			"MariaDB on %s refuses root@localhost over its socket: %s", server, st.DownReason)
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_MARIADB_DOWN,
		Sprintf("MariaDB on %s does not answer: %s", server, st.DownReason),
		errs.WithHint("start mariadb.service on "+server))
}
