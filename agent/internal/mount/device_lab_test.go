//go:build lab

package mount_test

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestADeviceThatComesLate(t *testing.T) { // H4
	h := newHost(t)
	v := formatted(t, "vol-late", "ext4")
	v.Detach(t)
	r := request(v)
	r.DeviceTimeout = 30 * time.Second
	waiting := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		_, err := h.mounts.Ensure(t.Context(), r, func(text string) {
			if strings.HasPrefix(text, "waiting for the device") {
				select {
				case waiting <- struct{}{}:
				default:
				}
			}
		})
		done <- err
	}()
	<-waiting
	v.Attach(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.proved(t, v, r)
}

func TestNoDevice(t *testing.T) {
	h := newHost(t)
	other := formatted(t, "vol-other", "ext4")
	_, err := h.mounts.Ensure(t.Context(), mount.Request{DeviceIDs: []string{"virtio-vol-none"},
		Path: dataPath, DeviceTimeout: time.Second}, nil)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_DEVICE_MISSING)
	if !strings.Contains(err.Error(), other.ID) {
		t.Errorf("error does not say what is attached: %v", err)
	}
}

func TestTwins(t *testing.T) { // H5
	for _, filesystem := range []string{"ext4", "xfs"} {
		t.Run(filesystem, func(t *testing.T) {
			h := newHost(t)
			original := formatted(t, "vol-orig", filesystem)
			v := original.Copy(t, "vol-copy")
			dir := t.TempDir()
			lab.Run(t, "mount", original.Device, dir)
			defer lab.Run(t, "umount", dir)
			r := request(v)
			result := h.ensure(t, v, r)
			if !strings.Contains(strings.Join(result.Found, "\n"),
				original.Device+" (virtio-vol-orig) has the same UUID") {
				t.Errorf("found = %q", result.Found)
			}
		})
	}
}
