//go:build lab

package mount_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestFilesUnderTheMountPoint(t *testing.T) { // H9
	h := newHost(t)
	lab.Write(t, dataPath+"/leftover", "x")
	t.Cleanup(func() { os.Remove(dataPath + "/leftover") })
	v := formatted(t, "vol-1", "ext4")
	if result := h.ensure(t, v, request(v)); !strings.Contains(strings.Join(result.Found, "\n"),
		"1 files in /srv/mariadb are hidden") {
		t.Errorf("found = %q", result.Found)
	}
}

func TestMountedElsewhere(t *testing.T) { // H9
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	dir := t.TempDir()
	lab.Run(t, "mount", v.Device, dir)
	defer lab.Run(t, "umount", dir)
	_, err := h.mounts.Ensure(t.Context(), request(v), nil)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_DEVICE_BUSY)
}

func TestMountedByHandBeforeItWasPrepared(t *testing.T) {
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	if err := os.MkdirAll(dataPath, 0o755); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "mount", v.Device, dataPath)
	if result := h.ensure(t, v, request(v)); !changed(result, "unmounted") ||
		!changed(result, "new UUID") {
		t.Errorf("changes = %q", result.Changes)
	}
}

func TestBusy(t *testing.T) { // H9
	h := newHost(t)
	old := formatted(t, "vol-old", "ext4")
	h.ensure(t, old, mount.Request{DeviceIDs: []string{old.ID}, Path: dataPath})
	holder, err := os.Open(dataPath + "/mysql/ibdata1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.mounts.EnsureUnmounted(t.Context(), dataPath, nil, nil)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_MOUNT_BUSY)
	if !strings.Contains(err.Error(), "open file") {
		t.Errorf("error does not name the holder: %v", err)
	}
	go func() { // somebody who lets go a little later is waited for
		<-time.After(time.Second)
		holder.Close()
	}()
	if _, err := h.mounts.EnsureUnmounted(t.Context(), dataPath, []string{old.ID},
		nil); err != nil {
		t.Fatal(err)
	}
	if changes, err := h.mounts.EnsureUnmounted(t.Context(), dataPath, nil, nil); err != nil ||
		len(changes) != 0 {
		t.Errorf("again: %q, %v", changes, err)
	}
	if _, err := os.Stat("/etc/systemd/system/" + dataUnit); err == nil {
		t.Error("the unit file is still there")
	}
}

func TestBind(t *testing.T) { // H13
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	h.ensure(t, v, request(v))
	lab.Write(t, bindPath+"/of-the-image", "x")
	lab.Run(t, "chown", "-R", "4242:4242", dataPath+"/mysql")
	r := mount.BindRequest{Source: dataPath + "/mysql", Path: bindPath, Owner: "mysql",
		BoundUnits: []string{"mariadb.service"}, StopUnits: []string{"mariadb.service"}}
	m, changes, err := h.mounts.EnsureBind(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if m.Root != "/mysql" || m.Device != v.Device || !strings.Contains(strings.Join(changes, "\n"),
		"owner of 2 files set to mysql") {
		t.Errorf("mount = %+v, changes = %q", m, changes)
	}
	if owner := lab.Run(t, "stat", "-c", "%U:%G", bindPath+"/ibdata1"); owner != "mysql:mysql" {
		t.Errorf("owner = %s", owner)
	}
	if got := lab.Run(t, "systemctl", "show", "-P", "BindsTo",
		"mariadb.service"); !strings.Contains(got, dataUnit) ||
		!strings.Contains(got, "var-lib-mysql.mount") {
		t.Errorf("bound to %q", got)
	}
	if _, changes, err := h.mounts.EnsureBind(t.Context(), r); err != nil || len(changes) != 0 {
		t.Errorf("again: %q, %v", changes, err)
	}
	lab.Run(t, "systemctl", "stop", dataUnit)
	if out, err := lab.Try("findmnt", "--mountpoint", bindPath); err == nil {
		t.Errorf("the bind mount outlives its volume: %s", out)
	}
	if _, _, err := h.mounts.EnsureBind(t.Context(), r); !errors.Is(err, errs.FailedPrecondition) ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_NOT_MOUNTED {
		t.Errorf("a directory that is on no volume is bound: %v", err)
	}
	h.ensure(t, v, request(v))
	if _, _, err := h.mounts.EnsureBind(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func TestSwapUnderABind(t *testing.T) {
	h := newHost(t)
	old := formatted(t, "vol-old", "ext4")
	h.ensure(t, old, mount.Request{DeviceIDs: []string{old.ID}, Path: dataPath})
	bind := mount.BindRequest{Source: dataPath + "/mysql", Path: bindPath, Owner: "mysql"}
	if _, _, err := h.mounts.EnsureBind(t.Context(), bind); err != nil {
		t.Fatal(err)
	}
	v := formatted(t, "vol-next", "ext4")
	r := request(v)
	r.ReplaceIDs = []string{old.ID}
	h.ensure(t, v, r)
	m, _, err := h.mounts.EnsureBind(t.Context(), bind)
	if err != nil || m.Device != v.Device {
		t.Fatalf("bind is on %s, %v", m.Device, err)
	}
}
