//go:build lab

package mount_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab"
)

// TestAChangeOfUUIDThatWasCutOff plants what a power cut leaves in the middle of xfs_admin: it
// writes the log first, then the superblock of each allocation group.
func TestAChangeOfUUIDThatWasCutOff(t *testing.T) {
	for name, restored := range map[string]int{"within the log": 4, "after the log": 4,
		"after the first superblock": 3, "before its end": 1} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			v := formatted(t, "vol-x", "xfs")
			before, log := superblocks(t, v), endOfLog(t, v)
			lab.Run(t, "xfs_admin", "-U", uuidB, v.Device)
			restore(t, v, before, restored)
			if name == "within the log" {
				log.restore(t, v)
			}
			lab.Write(t, "/var/lib/understudy-agent/xfs-uuid/"+v.ID+".json",
				`{"old":"`+uuidA+`","new":"`+uuidB+`"}`)
			h.ensure(t, v, request(v))
			if left, _ := filepath.Glob("/var/lib/understudy-agent/xfs-uuid/*"); len(left) > 0 {
				t.Errorf("records are left: %v", left)
			}
		})
	}
}

const groups = 4

// superblocks are the first sectors of all allocation groups.
func superblocks(t *testing.T, v *lab.Volume) [][]byte {
	t.Helper()
	file, err := os.Open(v.Device)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all [][]byte
	for i := range int64(groups) {
		sector := make([]byte, 512)
		if _, err := file.ReadAt(sector, i*groupBytes(t, v)); err != nil ||
			string(sector[:4]) != "XFSB" {
			t.Fatalf("no superblock in group %d: %v", i, err)
		}
		all = append(all, sector)
	}
	return all
}

func groupBytes(t *testing.T, v *lab.Volume) int64 {
	t.Helper()
	var blocks, size int64
	out := lab.Run(t, "xfs_db", "-r", "-c", "sb 0", "-c", "print agblocks blocksize agcount",
		v.Device)
	var count int
	if _, err := fmt.Sscanf(out, "agblocks = %d\nblocksize = %d\nagcount = %d", &blocks, &size,
		&count); err != nil || count != groups {
		t.Fatalf("%q: %v", out, err)
	}
	return blocks * size
}

// restore puts the last so many superblocks back.
func restore(t *testing.T, v *lab.Volume, before [][]byte, count int) {
	t.Helper()
	size := groupBytes(t, v)
	file, err := os.OpenFile(v.Device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := groups - count; i < groups; i++ {
		if _, err := file.WriteAt(before[i], int64(i)*size); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// span is a part of a device.
type span struct {
	offset  int64
	content []byte
}

// endOfLog is the second half of the log, which is cleared last.
func endOfLog(t *testing.T, v *lab.Volume) span {
	t.Helper()
	var blocks, size int64
	out := lab.Run(t, "xfs_db", "-r", "-c", "sb 0", "-c", "print logblocks blocksize", v.Device)
	if _, err := fmt.Sscanf(out, "logblocks = %d\nblocksize = %d", &blocks, &size); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	out = lab.Run(t, "xfs_db", "-r", "-c", "sb 0", "-c", "addr logstart", "-c", "daddr",
		v.Device)
	words := strings.Fields(out) // "datadev daddr is 327736", or "current daddr is …"
	sector, err := strconv.ParseInt(words[len(words)-1], 10, 64)
	if err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	s := span{offset: sector*512 + blocks*size/2, content: make([]byte, blocks*size/2)}
	s.read(t, v)
	return s
}

func (s span) read(t *testing.T, v *lab.Volume) {
	t.Helper()
	file, err := os.Open(v.Device)
	if err == nil {
		_, err = file.ReadAt(s.content, s.offset)
		file.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s span) restore(t *testing.T, v *lab.Volume) {
	t.Helper()
	file, err := os.OpenFile(v.Device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(s.content, s.offset)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}
