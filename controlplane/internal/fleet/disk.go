package fleet

import (
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

const (
	// diskWindow is how far back the free bytes that are compared with those of now may be.
	diskWindow = time.Hour
	// diskHorizon is how far ahead a rate of an hour says anything.
	diskHorizon = 365 * 24 * time.Hour
	// diskStep is how far apart the observations are that are kept, and the shortest time that a
	// trend is read from.
	diskStep = time.Minute
)

// Disk is how the datadir's filesystem fills.
type Disk struct {
	// FreeBytes and UsedBytes are those of the filesystem, BinlogBytes are of its binary logs.
	FreeBytes, UsedBytes, BinlogBytes int64
	// FullIn is the time until nothing is free at the rate of Window; zero when it does not fill
	// within a year, or when Window is zero.
	FullIn time.Duration
	// BinlogShare is the part of what was used in Window that binary logs used, 0 to 1.
	BinlogShare float64
	// Window is the time between the two observations that the rate is from.
	Window time.Duration
}

// diskSample is one observation. Its time carries the monotonic clock.
type diskSample struct {
	at            time.Time
	free, binlogs int64
}

// diskTrend keeps one observation a minute for an hour. Its zero value is ready.
type diskTrend struct{ kept []diskSample }

// observe takes an observation, and compares it with the oldest one of the last hour.
func (d *diskTrend) observe(at time.Time, s replication.Status) Disk {
	disk := Disk{FreeBytes: s.FilesystemFree, UsedBytes: s.FilesystemUsed,
		BinlogBytes: s.BinlogBytes}
	// A quiesced MariaDB is not asked for its binary logs.
	if !s.Answers || s.Held || s.FilesystemFree+s.FilesystemUsed == 0 {
		return disk
	}
	for len(d.kept) > 0 && at.Sub(d.kept[0].at) > diskWindow {
		d.kept = d.kept[1:]
	}
	if len(d.kept) > 0 {
		disk.compare(d.kept[0], at)
	}
	if len(d.kept) == 0 || at.Sub(d.kept[len(d.kept)-1].at) >= diskStep {
		d.kept = append(d.kept, diskSample{at, s.FilesystemFree, s.BinlogBytes})
	}
	return disk
}

func (d *Disk) compare(old diskSample, at time.Time) {
	window := at.Sub(old.at)
	if window < diskStep {
		return
	}
	d.Window = window
	used := old.free - d.FreeBytes
	if used <= 0 {
		return
	}
	if ahead := float64(window) / float64(used) * float64(d.FreeBytes); ahead <
		float64(diskHorizon) {
		d.FullIn = max(1, time.Duration(ahead))
	}
	d.BinlogShare = max(0, min(1, float64(d.BinlogBytes-old.binlogs)/float64(used)))
}
