package mariadb

import (
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// TestErrorOfThePrimaryMakesNoTableUnfit, which would count as one that needs no proof.
func TestErrorOfThePrimaryMakesNoTableUnfit(t *testing.T) {
	t.Parallel()
	for number, ofReplica := range map[uint16]bool{errLockWaitTimeout: false,
		errStatementTimeout: false, 1317: true, errTableDefChanged: true, 1054: true, 1194: true,
		1030: true} {
		err := fmt.Errorf("cannot read: %w", &mysql.MySQLError{Number: number})
		if got := unread(err, false); got.Busy == "" || got.Unfit != "" {
			t.Errorf("%d on the primary: %+v", number, got)
		}
		if got := unread(err, true); (got.Unfit != "") != ofReplica || got.Busy+got.Unfit == "" {
			t.Errorf("%d on the replica: %+v", number, got)
		}
	}
}
