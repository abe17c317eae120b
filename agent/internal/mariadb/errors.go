package mariadb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Numbers of MariaDB's errors that decisions are made on.
const (
	errFileNotFound    = 29
	errLockWaitTimeout = 1205
	errMasterInfo      = 1201
	errSyntax          = 1064
	errTableGone       = 1146
	errTableDefChanged = 1412
	errSchemaGone      = 1049
	errShutdown        = 1053
	errPacketTooLarge  = 1301
	errInterrupted     = 1317
	errKilled          = 1927
)

// failure says what could not be done. MariaDB's own error is kept word for word; a connection that
// broke or was never made is Unavailable.
func failure(what string, err error) error {
	var known *errs.Error
	var answer *mysql.MySQLError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case denied(err):
		return accessDenied(what, err)
	case errors.As(err, &answer):
		return errs.New(errs.Internal, errorsv1.Reason_REASON_MARIADB_ERROR, what, errs.Wrap(err),
			errs.Meta("errno", strconv.Itoa(int(answer.Number))),
			errs.Meta("sqlstate", string(answer.SQLState[:])),
			errs.Meta("text", answer.Message),
			errs.WithHint("correct what MariaDB reports, then call again"))
	case errors.Is(err, context.DeadlineExceeded):
		return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_TIMEOUT, what, errs.Wrap(err),
			errs.WithHint("see what MariaDB is busy with (SHOW PROCESSLIST), then call again"))
	case errors.Is(err, context.Canceled):
		return errs.New(errs.Canceled, errorsv1.Reason_REASON_CANCELED, what, errs.Wrap(err),
			errs.WithHint("call again: it continues where it stopped"))
	case broken(err):
		return down(what, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

func broken(err error) bool {
	var netErr *net.OpError // not any error with a number of the kernel's
	return errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &netErr)
}

func down(what string, cause error) error {
	if denied(cause) {
		return accessDenied(what, cause)
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_MARIADB_DOWN,
		what+": MariaDB does not answer", errs.Wrap(cause),
		errs.WithHint("make sure that "+Unit+
			" is up and ready (SystemdService.EnsureUnit), then call again"),
		errs.Retry(2*time.Second))
}

// errno is the number of MariaDB's error in err, or 0.
func errno(err error) int {
	var answer *mysql.MySQLError
	if errors.As(err, &answer) {
		return int(answer.Number)
	}
	return 0
}

// unsafe is the error of a call that is not safe as things stand.
func unsafe(reason errorsv1.Reason, message string, options ...errs.Option) error {
	return errs.New(errs.FailedPrecondition, reason, message, options...)
}

// withoutSecret takes a secret out of MariaDB's text: a syntax error quotes the statement.
func withoutSecret(err error, secret string) error {
	var answer *mysql.MySQLError
	if secret == "" || !errors.As(err, &answer) {
		return err
	}
	clean := *answer
	if answer.Number == errSyntax || strings.Contains(answer.Message, secret) ||
		strings.Contains(answer.Message, literalBody(secret)) {
		clean.Message = "(text left out: it quotes the password)"
	}
	return &clean
}

// errSessionOver makes the pool drop a connection.
var errSessionOver = driver.ErrBadConn

// toolFailed is the error of a tool of MariaDB's.
func toolFailed(what, tool string, err error) error {
	code, _ := hostexec.CodeOf(err)
	return errs.New(errs.Internal, errorsv1.Reason_REASON_TOOL_FAILED, what, errs.Wrap(err),
		errs.Meta("tool", tool), errs.Meta("exit_code", strconv.Itoa(code)),
		errs.WithHint("correct what its output in the agent's log says, most often a full volume, "+
			"then call again"))
}
