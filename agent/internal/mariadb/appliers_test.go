package mariadb

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// Exactly what ran is started again: nothing that an error of its own has stopped since.
func TestOnlyThreadsThatRanAreStarted(t *testing.T) {
	t.Parallel()
	stopped := func(ioErrno, sqlErrno int) Replication {
		return Replication{IORunning: "No", SQLRunning: "No", IOErrno: ioErrno, SQLErrno: sqlErrno}
	}
	both := ran{IO: []string{"a"}, SQL: []string{"a"}}
	again := both
	again.started = true
	const io, sql = "START SLAVE 'a' IO_THREAD", "START SLAVE 'a' SQL_THREAD"
	for name, test := range map[string]struct {
		now     Replication
		threads ran
		want    []string
	}{
		"both":                       {stopped(0, 0), both, []string{io, sql}},
		"the applier alone":          {stopped(0, 0), ran{SQL: both.SQL}, []string{sql}},
		"stopped while it connected": {stopped(2003, 0), both, []string{io, sql}},
		"errors after the start":     {stopped(1236, 1062), again, nil},
		"they run": {Replication{IORunning: "Connecting", SQLRunning: "Yes"},
			both, nil},
		"another connection": {stopped(0, 0), ran{SQL: []string{"b"}}, nil},
	} {
		all := applierStates{"a": test.now}
		if got := all.start(test.threads); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, not %q", name, got, test.want)
		}
	}
}

func TestTheMarkerOfAnEarlierVersionIsRead(t *testing.T) {
	t.Parallel()
	for text, io := range map[string]int{`["a", "b"]`: 0, `{"sql": ["a", "b"], "io": ["a"]}`: 1} {
		marker := filepath.Join(t.TempDir(), "marker")
		if err := os.WriteFile(marker, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var threads ran
		if found, err := atomicfile.ReadJSON(marker, &threads); !found || err != nil ||
			!slices.Equal(threads.SQL, []string{"a", "b"}) || len(threads.IO) != io {
			t.Errorf("%s: %+v %t %v", text, threads, found, err)
		}
	}
}
