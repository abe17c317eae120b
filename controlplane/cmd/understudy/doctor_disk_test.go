package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestDoctorNamesTheDiskThatIsFullFirst(t *testing.T) {
	t.Parallel()
	fills := func(name string, after time.Duration, share float64) *cpv1.Server {
		return &cpv1.Server{Name: "servers/" + name, Disk: &cpv1.ServerDisk{FreeBytes: 3 << 30,
			BinlogBytes: 9 << 30, Window: durationpb.New(time.Hour),
			FullAfter: durationpb.New(after), BinlogShare: share}}
	}
	tests := map[string]struct {
		servers []*cpv1.Server
		found   string
		hint    string
	}{
		"not observed": {[]*cpv1.Server{{Name: "servers/db1"}}, "none is full", ""},
		"in a month":   {[]*cpv1.Server{fills("db1", 30*24*time.Hour, 1)}, "none is full", ""},
		"binary logs": {[]*cpv1.Server{fills("db1", 50*time.Hour, 1),
			fills("db2", 5*time.Hour, .9)},
			"db2 has 3GiB free", "understudy server purge-binlogs db2"},
		"data": {[]*cpv1.Server{fills("db1", 5*time.Hour, .2)}, "db1 has 3GiB free",
			"grow the data volume"},
	}
	for name, test := range tests {
		got := (&cli{}).examineDisks(test.servers)
		if !strings.Contains(got.Found, test.found) || !strings.Contains(got.Hint, test.hint) ||
			got.OK != (test.hint == "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
