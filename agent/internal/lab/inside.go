//go:build lab

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mostTime is far more than any program here takes: one that takes it hangs.
const mostTime = 4 * time.Minute

// Run runs a program inside and answers what it wrote; it fails the test when the program fails, or
// hangs.
func Run(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := Try(argv...)
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return out
}

// Try is Run for a program that may fail.
func Try(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), mostTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("hangs: %w\n%s", err, hanging())
	}
	return strings.TrimSpace(string(out)), err
}

// hanging is what may keep a program from its end: what MariaDB and systemd have under way.
func hanging() string {
	var all strings.Builder
	for _, argv := range [][]string{{"mariadb", "-e", "SHOW FULL PROCESSLIST"},
		{"systemctl", "list-jobs"}, {"journalctl", "-n", "40", "--no-pager"},
		{"ps", "-eo", "pid,stat,wchan:20,args"}} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		cancel()
		fmt.Fprintf(&all, "%s: %v\n%s\n", strings.Join(argv, " "), err, out)
	}
	return all.String()
}

// Context is the test's, and ends what hangs.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mostTime)
	t.Cleanup(cancel)
	return ctx
}

// Ends waits until the channel is closed.
func Ends(t testing.TB, what string, ended <-chan struct{}) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(mostTime):
		t.Fatalf("not within %s: %s\n%s", mostTime, what, hanging())
	}
}

// Write writes a file inside, with the directories on its way.
func Write(t testing.TB, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
		os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until the condition holds.
func Eventually(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s\n%s", limit, what, hanging())
		}
		<-ticker.C
	}
}

// Volume is a block device that can be attached and detached.
type Volume struct {
	// ID is its name below /dev/disk/by-id.
	ID string
	// Device is its node while it is attached.
	Device string
	file   string
}

// NewVolume makes a blank volume of that many MiB and attaches it as virtio-NAME. It goes with the
// test.
func NewVolume(t testing.TB, name string, mib int64) *Volume {
	t.Helper()
	v := &Volume{ID: "virtio-" + name, file: filepath.Join(shared, name+".img")}
	file, err := os.Create(v.file)
	if err == nil {
		err = errors.Join(file.Truncate(mib<<20), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.unmount(); v.Detach(t); os.Remove(v.file) })
	v.Attach(t)
	return v
}

// Copy makes a volume with the same content, as a snapshot does, and attaches it. The first one
// must not be mounted.
func (v *Volume) Copy(t testing.TB, name string) *Volume {
	t.Helper()
	c := &Volume{ID: "virtio-" + name, file: filepath.Join(shared, name+".img")}
	Run(t, "sync")
	Run(t, "cp", "--sparse=always", "--reflink=auto", v.file, c.file)
	t.Cleanup(func() { c.unmount(); c.Detach(t); os.Remove(c.file) })
	c.Attach(t)
	return c
}

// Attach plugs the volume in: a loop device, its node, and its name.
func (v *Volume) Attach(t testing.TB) {
	t.Helper()
	if v.Device != "" {
		return
	}
	node(t, "/dev/loop-control", unix.S_IFCHR, 10, 237)
	for range 100 { // others on this box take loop devices as well
		n := freeLoop(t)
		device := fmt.Sprintf("/dev/loop%d", n)
		node(t, device, unix.S_IFBLK, 7, uint32(n))
		if out, err := Try("losetup", device, v.file); err == nil {
			v.Device = device
			break
		} else if !strings.Contains(out, "busy") {
			t.Fatalf("losetup %s: %s", device, out)
		}
		os.Remove(device)
	}
	if v.Device == "" {
		t.Fatal("no loop device is free")
	}
	v.Link(t, v.ID)
}

// Link gives the attached volume a name below /dev/disk/by-id.
func (v *Volume) Link(t testing.TB, id string) {
	t.Helper()
	link := filepath.Join("/dev/disk/by-id", id)
	if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), ignoreMissing(os.Remove(link)),
		os.Symlink("../.."+strings.TrimPrefix(v.Device, "/dev"), link)); err != nil {
		t.Fatal(err)
	}
}

// Detach unplugs the volume: its name and its node are gone, whoever still uses it.
func (v *Volume) Detach(t testing.TB) {
	t.Helper()
	if v.Device == "" {
		return
	}
	links, _ := filepath.Glob("/dev/disk/by-id/*")
	for _, link := range links {
		if target, err := filepath.EvalSymlinks(link); err == nil && target == v.Device {
			os.Remove(link)
		}
	}
	// Busy is fine: the kernel lets go of it with its last user.
	_ = exec.Command("losetup", "--detach", v.Device).Run()
	os.Remove(v.Device)
	v.Device = ""
}

// unmount takes the volume off wherever it is mounted, at the end of a test.
func (v *Volume) unmount() {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); v.Device != "" &&
			strings.HasPrefix(fields[0], v.Device) {
			// what is mounted twice is in the list twice
			_ = unix.Unmount(fields[1], unix.MNT_DETACH)
		}
	}
}

// Grow makes the volume larger while it is attached.
func (v *Volume) Grow(t testing.TB, mib int64) {
	t.Helper()
	if err := os.Truncate(v.file, mib<<20); err != nil {
		t.Fatal(err)
	}
	Run(t, "losetup", "--set-capacity", v.Device)
}

func node(t testing.TB, path string, kind uint32, major, minor uint32) {
	t.Helper()
	if err := unix.Mknod(path, kind|0o600, int(unix.Mkdev(major, minor))); err != nil &&
		!errors.Is(err, unix.EEXIST) {
		t.Fatalf("mknod %s: %v", path, err)
	}
}

// freeLoop is the number of a loop device that is free now.
func freeLoop(t testing.TB) int {
	t.Helper()
	const loopCtlGetFree = 0x4C82
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), loopCtlGetFree)
	if err != nil {
		t.Fatalf("no loop device is free: %v", err)
	}
	return n
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Partition makes one partition that fills the attached volume, and plugs it in with its node and
// its name (…-part1).
func (v *Volume) Partition(t testing.TB) string {
	t.Helper()
	writeTable(t, v.Device)
	Run(t, "partx", "--update", v.Device)
	part := v.Device + "p1"
	numbers, err := os.ReadFile("/sys/class/block/" + filepath.Base(part) + "/dev")
	if err != nil {
		t.Fatal(err)
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(numbers), "%d:%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	node(t, part, unix.S_IFBLK, major, minor)
	link := filepath.Join("/dev/disk/by-id", v.ID+"-part1")
	if err := os.Symlink("../.."+strings.TrimPrefix(part, "/dev"), link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		v.unmount()
		_, _ = Try("partx", "--delete", v.Device)
		os.Remove(part)
		os.Remove(link)
	})
	return part
}

// writeTable writes a DOS partition table with one Linux partition from 1 MiB to the end.
func writeTable(t testing.TB, device string) {
	t.Helper()
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	const start, sector = 2048, 512
	table := make([]byte, sector)
	entry := table[446:462]
	entry[4] = 0x83
	binary.LittleEndian.PutUint32(entry[8:], start)
	binary.LittleEndian.PutUint32(entry[12:], uint32(size/sector-start))
	table[510], table[511] = 0x55, 0xaa
	if _, err := file.WriteAt(table, 0); err != nil {
		t.Fatal(err)
	}
}
