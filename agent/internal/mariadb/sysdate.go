package mariadb

import (
	"context"

	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// readSysdate adds whether SYSDATE() is NOW(), for which there is an option and no variable: the
// time of an execution moves on while it sleeps, unless it is that of the statement.
func readSysdate(ctx context.Context, q querier, settings map[string]string) error {
	r, err := one(ctx, q, "SELECT SLEEP(0.001) = 0 AND SYSDATE(6) = NOW(6) AS same")
	if err != nil {
		return err
	}
	settings[consistentpoint.SysdateIsNow] = "OFF"
	if r["same"] == "1" {
		settings[consistentpoint.SysdateIsNow] = "ON"
	}
	return nil
}
