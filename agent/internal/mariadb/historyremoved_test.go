package mariadb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestALogWhoseFileWasDeleted is not there for a replica, nor are those before it.
func TestALogWhoseFileWasDeleted(t *testing.T) {
	t.Parallel()
	for sizes, want := range map[[3]int64]int{{4, 4, 4}: 3, {0, 4, 4}: 2, {4, 0, 4}: 1,
		{0, 0, 4}: 1, {4, 4, 0}: 0} {
		var logs []Binlog
		for _, size := range sizes {
			logs = append(logs, Binlog{SizeBytes: size})
		}
		if got := present(logs); len(got) != want {
			t.Errorf("%v: %d are present, want %d", sizes, len(got), want)
		}
	}
}

// TestACurrentLogWhoseFileWasDeleted proves nothing: its history is told again with the next log.
func TestACurrentLogWhoseFileWasDeleted(t *testing.T) {
	t.Parallel()
	f := newFollow(t)
	f.write("a.000001", strings.Repeat("m", 60))
	at := Live{BinlogFile: "a.000001", BinlogOffset: 50, logs: []string{"a.000001"}}
	at.Gtid.Binlog = "0-1-5"
	id := f.h.of(at, f.dir).ID
	if id == "" {
		t.Fatal("no history")
	}
	if err := os.Remove(filepath.Join(f.dir, "a.000001")); err != nil {
		t.Fatal(err)
	}
	if got := f.h.of(at, f.dir); got.ID != "" || got.Reason != "" {
		t.Errorf("a first look: %+v", got)
	}
	for range 3 {
		if got := f.h.of(at, f.dir); got.ID != "" ||
			!strings.Contains(got.Reason, "a.000001, is not there any more") {
			t.Errorf("told %+v", got)
		}
	}
	f.write("a.000002", "the next")
	at = Live{BinlogFile: "a.000002", BinlogOffset: 8, OldestGtid: "0-1-7",
		logs: []string{"a.000002"}}
	at.Gtid.Binlog = "0-1-8"
	if got := f.h.of(at, f.dir); got.ID != id || got.Reason != "" {
		t.Errorf("%s became %+v", id, got)
	}
}
