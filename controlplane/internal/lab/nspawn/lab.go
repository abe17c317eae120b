package nspawn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
)

// lab knows every name that is made from the lab's own. It has no state.
type lab struct {
	name string
	dir  string
}

// key is short enough for interface names (at most 15 characters with a suffix).
func (l lab) key() string {
	sum := sha256.Sum256([]byte(l.name))
	return "us" + hex.EncodeToString(sum[:3])
}

func (l lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.dir}, parts...)...)
}

func (l lab) pool(parts ...string) string { return l.path(append([]string{"pool"}, parts...)...) }

func (l lab) bridge() string               { return l.key() + "br" }
func (l lab) veth(ordinal int) string      { return fmt.Sprintf("%s-%d", l.key(), ordinal) }
func (l lab) netns(machine string) string  { return l.key() + "-" + machine }
func (l lab) nspawn(machine string) string { return l.key() + "-" + machine }
func (l lab) unit(machine string) string {
	return "understudy-" + l.nspawn(machine) +
		".service"
}
func (l lab) cgroup(machine string) string {
	return filepath.Join("/understudy", l.key(),
		machine)
}
func (l lab) root(machine string) string    { return l.pool("machines", machine, "root") }
func (l lab) upper(machine string) string   { return l.pool("machines", machine, "upper") }
func (l lab) runDir(machine string) string  { return l.path("run", machine) }
func (l lab) console(machine string) string { return l.path("run", machine, "console.log") }
func (l lab) runLock(machine string) string { return l.path("run", machine, "lock") }
func (l lab) volumeFile(id string) string   { return l.pool("volumes", id+".img") }
func (l lab) snapshotFile(id string) string { return l.pool("snapshots", id+".img") }

// defaultDevicePattern is what virtio disks are called.
const defaultDevicePattern = "virtio-vol-{id}"

// deviceName is the name of a volume's device on the machines, by the pattern that the lab was made
// with.
func (l lab) deviceName(volume string) string {
	var record labRecord
	if err := readJSON(l.path("lab.json"), &record); err != nil || record.DevicePattern == "" {
		record.DevicePattern = defaultDevicePattern
	}
	return strings.ReplaceAll(record.DevicePattern, "{id}", strings.TrimPrefix(volume, "vol-"))
}
