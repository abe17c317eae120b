package mount

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// await waits until a device with one of the names is attached. DEVICE_MISSING after the timeout,
// with what is attached instead; DEVICE_WRONG when the names lead to different devices.
func (h *host) await(ctx context.Context, ids []string, timeout time.Duration,
	say Say) (Device, string, error) {
	if timeout <= 0 {
		timeout = defaultDeviceTimeout
	}
	// Watching first, then looking: a device that comes in between is not missed.
	watch := watchDirs(ctx, h.path("/dev/disk/by-id"), h.path("/dev/disk"), h.path("/dev"))
	defer watch.close()
	start := time.Now()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		device, id, err := h.find(ids)
		if err != nil || id != "" {
			return device, id, err
		}
		if waited := time.Since(start).Truncate(time.Second); waited > 0 {
			say.report("waiting for the device %s, %s", ids[0], waited)
		}
		select {
		case <-ctx.Done():
			return Device{}, "", fmt.Errorf("cannot wait for the device %s: %w", ids[0], ctx.Err())
		case <-deadline.C:
			return Device{}, "", h.missing(ids, time.Since(start))
		case <-watch.changed:
		case <-poll.C:
		}
	}
}

// find is the attached device that has one of the names, and the first of these names in the
// caller's order; "" when none is attached.
func (h *host) find(ids []string) (Device, string, error) {
	devices, err := h.attached()
	if err != nil {
		return Device{}, "", err
	}
	found, name := Device{}, ""
	for _, id := range ids {
		at := slices.IndexFunc(devices, func(d Device) bool { return slices.Contains(d.IDs, id) })
		switch {
		case at < 0:
		case name == "":
			found, name = devices[at], id
		case devices[at].Path != found.Path:
			return Device{}, "", refuse(errorsv1.Reason_REASON_DEVICE_WRONG,
				fmt.Sprintf("cannot choose a device: %s is %s, but %s is %s", name,
					found.Path, id, devices[at].Path),
				errs.WithHint("name one volume, or detach the other one"))
		}
	}
	return found, name, nil
}

func (h *host) missing(ids []string, waited time.Duration) error {
	attached := "none is attached"
	if devices, err := h.attached(); err == nil {
		var names []string
		for _, device := range devices {
			names = append(names, device.IDs...)
		}
		if names != nil {
			attached = "attached are " + strings.Join(names, ", ")
		}
	}
	return refuse(errorsv1.Reason_REASON_DEVICE_MISSING,
		fmt.Sprintf("no device with the name %s after %s; %s", strings.Join(ids, " or "),
			waited.Round(time.Second), attached),
		errs.WithHint("attach the volume to this machine, then call again"),
		errs.Meta("device_ids", strings.Join(ids, ",")),
		errs.Meta("waited", waited.Round(time.Second).String()))
}

// dirWatch reports that an entry of a directory came or went.
type dirWatch struct {
	changed chan struct{}
	stop    func()
}

// watchDirs watches the directories that exist. Where the kernel gives no watch, changed never
// fires: the caller polls as well.
func watchDirs(ctx context.Context, dirs ...string) *dirWatch {
	w := &dirWatch{changed: make(chan struct{}, 1), stop: func() {}}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w
	}
	for _, dir := range dirs {
		// Best effort: the poll sees what a watch does not.
		_, _ = unix.InotifyAddWatch(fd, dir,
			unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_ATTRIB)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(fd)
		w.read(ctx, fd)
	}()
	w.stop = func() { cancel(); <-done }
	return w
}

func (w *dirWatch) close() { w.stop() }

func (w *dirWatch) read(ctx context.Context, fd int) {
	buffer := make([]byte, 4096)
	for ctx.Err() == nil {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 200)
		if err != nil && err != unix.EINTR {
			return
		}
		if ready <= 0 {
			continue
		}
		if _, err := unix.Read(fd, buffer); err != nil && err != unix.EAGAIN {
			return
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}
