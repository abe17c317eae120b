//go:build lab

package app

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// Two control planes start for the first time at once, on one MariaDB.
func TestFirstStartsRaceOnAMariaDB(t *testing.T) {
	dsn, _ := storetest.MariaDB(t)
	admin, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 12 {
		for name, race := range map[string]func(*testing.T, [2]*store.Store){
			"one": inOneFolder, "own": inOwnFolders} {
			cfg.DBName = fmt.Sprintf("%s_%d", name, round)
			if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+cfg.DBName); err != nil {
				t.Fatal(err)
			}
			race(t, opened(t, store.Config{DSN: cfg.FormatDSN()}))
		}
	}
}
