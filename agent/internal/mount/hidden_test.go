package mount

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestAMountHidesNoDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ibdata1", "mysql/user.frm", "sys/x.frm",
		"performance_schema/y.frm", "empty/db.opt"} {
		write(name)
	}
	if err := refuseHiding(dir); err != nil {
		t.Errorf("a new datadir: %v", err)
	}
	write("shop/orders.frm")
	write("shop/orders.ibd")
	// MariaDB takes a link for a database, which is on another disk.
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "archive")); err != nil {
		t.Fatal(err)
	}
	if got, err := UserDatabases(dir); err != nil || !slices.Equal(got,
		[]string{"archive", "shop"}) {
		t.Errorf("databases: %v %v", got, err)
	}
	err := refuseHiding(dir)
	if err == nil || errs.ReasonOf(err) != errorsv1.Reason_REASON_MOUNT_POINT_NOT_EMPTY {
		t.Errorf("got %v", err)
	}
}
