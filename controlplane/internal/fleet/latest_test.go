package fleet

import (
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

func TestPositionsAreComparedWhereBothAreKnown(t *testing.T) {
	t.Parallel()
	primary := Observation{Status: replication.Status{Answers: true, BinlogPos: "0-1-10"}}
	replica := Observation{Status: replication.Status{Answers: true, SlavePos: "0-1-7"}}
	if got := compared(replica, primary); !got.Compared || got.Behind != 3 {
		t.Errorf("compared %+v", got)
	}
	if got := compared(replica, Observation{}); got.Compared {
		t.Errorf("a primary that is silent was compared with: %+v", got)
	}
}

func TestWhenADiskIsFull(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	start := time.Now()
	var trend diskTrend
	at := func(after time.Duration, free, binlogs int64) Disk {
		return trend.observe(start.Add(after), replication.Status{Answers: true,
			FilesystemFree: free, FilesystemUsed: 100*gib - free, BinlogBytes: binlogs})
	}
	if d := at(0, 60*gib, 0); d.Window != 0 || d.FullIn != 0 {
		t.Errorf("one observation is no trend: %+v", d)
	}
	if d := at(30*time.Second, 50*gib, 0); d.Window != 0 {
		t.Errorf("half a minute is no trend: %+v", d)
	}
	// 10 GiB in ten minutes, 8 of them binary logs; 50 GiB are left.
	d := at(10*time.Minute, 50*gib, 8*gib)
	if d.FullIn != 50*time.Minute || d.BinlogShare != 0.8 || d.Window != 10*time.Minute {
		t.Errorf("disk %+v", d)
	}
	// What is more than an hour ago does not count.
	d = at(65*time.Minute, 50*gib, 8*gib)
	if d.FullIn != 0 || d.Window != 55*time.Minute {
		t.Errorf("a disk that has stopped filling: %+v", d)
	}
	if d := at(66*time.Minute, 60*gib, 0); d.FullIn != 0 || d.BinlogShare != 0 {
		t.Errorf("a disk that empties: %+v", d)
	}
	held := trend.observe(start.Add(67*time.Minute), replication.Status{Answers: true, Held: true,
		FilesystemFree: gib})
	if held.Window != 0 {
		t.Errorf("a quiesced MariaDB was compared: %+v", held)
	}
}
