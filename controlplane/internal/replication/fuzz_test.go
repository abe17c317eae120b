package replication_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// FuzzSeries orders versions as servers give them: against itself every version is equal, and the
// order has no two ways.
func FuzzSeries(f *testing.F) {
	f.Add("11.8.6-MariaDB", "10.11.14")
	f.Add("11", "")
	f.Add("11.8rc1", "-1.2")
	f.Fuzz(func(t *testing.T, a, b string) {
		ab, ok := replication.CompareSeries(a, b)
		ba, okay := replication.CompareSeries(b, a)
		if ok != okay || ok && ab != -ba {
			t.Errorf("%q against %q is %d, the other way %d", a, b, ab, ba)
		}
		if order, ok := replication.CompareSeries(a, a); ok && order != 0 {
			t.Errorf("%q is not equal to itself", a)
		}
	})
}

// FuzzDiagnose judges what a server says of its threads, whatever it says: there is a verdict, in
// words.
func FuzzDiagnose(f *testing.F) {
	f.Add("Yes", "Yes", 0, "", 0, "", "Slave_Pos")
	f.Add("Connecting", "No", 1236, "Could not find GTID state", 1062, "Duplicate entry", "No")
	f.Fuzz(func(t *testing.T, io, sql string, ioErrno int, ioText string, sqlErrno int, sqlText,
		using string) {
		v := replication.Diagnose(replication.Connection{IORunning: io, SQLRunning: sql,
			IOErrno: ioErrno, IOError: ioText, SQLErrno: sqlErrno, SQLError: sqlText,
			UsingGTID: using})
		if v.String() == "" {
			t.Errorf("no verdict")
		}
	})
}

// FuzzPositions compares positions as servers give them.
func FuzzPositions(f *testing.F) {
	f.Add("0-1-1", "0-1-2")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, at, target string) {
		n, err := replication.Missing(at, target)
		covers, coversErr := replication.Covers(at, target)
		if (err == nil) != (coversErr == nil) || err == nil && covers && n != 0 {
			t.Errorf("%q, %q: %d missing, covers %v (%v, %v)", at, target, n, covers, err,
				coversErr)
		}
	})
}
