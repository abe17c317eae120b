//go:build lab

package mariadb_test

import (
	"os"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

func roots(t *testing.T) []string {
	t.Helper()
	return mariadbtest.Roots(t, os.Getenv(mariadbtest.RootsEnv))
}

// eachVersion runs the test with every version of MariaDB that there is.
func eachVersion(t *testing.T, test func(t *testing.T, root string)) {
	for _, root := range roots(t) {
		t.Run(mariadbtest.Name(root), func(t *testing.T) { test(t, root) })
	}
}

func TestStatusOfAFreshServer(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
		status, err := i.Status(t.Context())
		if err != nil || status.Answers || status.DownReason == "" ||
			status.Binary == (mariadb.Version{}) || status.DatadirVersion != status.Binary {
			t.Fatalf("down: %+v %v", status, err)
		}
		i.Run()
		status, err = i.Status(t.Context())
		if err != nil || !status.Answers || status.Live.ServerID != 1 ||
			!strings.HasPrefix(status.Live.Version, status.Binary.String()) {
			t.Fatalf("up: %+v %v", status, err)
		}
		if status.Live.BinlogFile == "" || status.Live.Started.IsZero() {
			t.Errorf("%+v", status.Live)
		}
		t.Logf("%+v", status)
	})
}
