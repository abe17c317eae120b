package manual_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/manual"
)

// hosts are machines that show what a test says.
type hosts struct {
	mu    sync.Mutex
	shown []string
	err   error
}

func (h *hosts) Devices(context.Context, provider.Machine) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shown, h.err
}

func (h *hosts) show(err error, devices ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown, h.err = devices, err
}

type world struct {
	*manual.Provider
	t     *testing.T
	dir   string
	hosts *hosts
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "manual"), hosts: &hosts{}}
	w.restart()
	return w
}

// restart opens the same records again, as after a crash.
func (w *world) restart() {
	w.t.Helper()
	p, err := manual.New(manual.Config{Dir: w.dir, Hosts: w.hosts,
		Images: []provider.Image{{Name: "trixie", MariaDBVersion: "11.8", Ready: true}}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Provider = p
}

// task is the one open task of an object.
func (w *world) task(object string) provider.Task {
	w.t.Helper()
	tasks, err := w.Tasks(w.t.Context(), false)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, t := range tasks {
		if t.ObjectID == object {
			return t
		}
	}
	w.t.Fatalf("nobody is asked about %s: %+v", object, tasks)
	return provider.Task{}
}

func (w *world) idle(object string) {
	w.t.Helper()
	tasks, err := w.Tasks(w.t.Context(), false)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, t := range tasks {
		if t.ObjectID == object {
			w.t.Errorf("somebody is asked still: %s", t.Do)
		}
	}
}

func (w *world) done(object string, result provider.TaskResult) {
	w.t.Helper()
	id := w.task(object).ID
	for range 2 { // saying it twice is fine
		if _, err := w.CompleteTask(w.t.Context(), id, result); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) machine() provider.Machine {
	w.t.Helper()
	m, err := w.CreateMachine(w.t.Context(), provider.CreateMachineRequest{ClientToken: "m",
		Name: "db1", Image: "trixie", UserData: []byte("the-secret")})
	if err != nil {
		w.t.Fatal(err)
	}
	w.done(m.ID, provider.TaskResult{Address: "192.0.2.5"})
	return m
}

func (w *world) volume(device string) provider.Volume {
	w.t.Helper()
	v, err := w.CreateVolume(w.t.Context(), provider.CreateVolumeRequest{ClientToken: device,
		SizeBytes: 1 << 30})
	if err != nil {
		w.t.Fatal(err)
	}
	w.done(v.ID, provider.TaskResult{Device: device})
	return v
}

func (w *world) attachment(id string) provider.AttachmentState {
	w.t.Helper()
	v, err := w.GetVolume(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.Attachment
}

func wants(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error is %v, not %v", err, kind)
	}
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v does not say %q", err, word)
		}
	}
}

func TestWordIsNotBelievedWhereTheHostShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, v := w.machine(), w.volume("scsi-right")
	w.hosts.show(nil, "scsi-wrong")
	if _, err := w.AttachVolume(t.Context(), v.ID, m.ID); err != nil {
		t.Fatal(err)
	}
	task := w.task(v.ID)
	_, err := w.CompleteTask(t.Context(), task.ID, provider.TaskResult{})
	wants(t, err, provider.ErrIncorrectState, "does not show", "scsi-right", "it shows scsi-wrong")
	w.restart()
	if a := w.attachment(v.ID); a != provider.AttachmentAttaching {
		t.Errorf("after a result alone it is %q", a)
	}
	w.hosts.show(errors.New("away"))
	_, err = w.CompleteTask(t.Context(), task.ID, provider.TaskResult{})
	wants(t, err, provider.ErrIncorrectState, "away")
	w.hosts.show(nil, "scsi-wrong", "scsi-right")
	if _, err = w.CompleteTask(t.Context(), task.ID, provider.TaskResult{}); err != nil {
		t.Error(err)
	}
	if a := w.attachment(v.ID); a != provider.AttachmentAttached {
		t.Errorf("the host shows it, and it is %q", a)
	}
}

func TestWhatWasMistypedIsCorrected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	say := func(id string, result provider.TaskResult) error {
		_, err := w.CompleteTask(t.Context(), id, result)
		return err
	}
	made, err := w.CreateMachine(t.Context(), provider.CreateMachineRequest{ClientToken: "m",
		Name: "db1", Image: "trixie"})
	if err != nil {
		t.Fatal(err)
	}
	machine := w.task(made.ID).ID
	w.done(made.ID, provider.TaskResult{Address: "192.0.2.6"})
	wants(t, say(machine, provider.TaskResult{Address: "mist"}), provider.ErrInvalid)
	v, err := w.CreateVolume(t.Context(), provider.CreateVolumeRequest{ClientToken: "v",
		SizeBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	volume := w.task(v.ID).ID
	w.done(v.ID, provider.TaskResult{Device: "scsi-wrong", Label: "lun 7"})
	w.hosts.show(nil, "scsi-right")
	if _, err := w.AttachVolume(t.Context(), v.ID, made.ID); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(say(machine, provider.TaskResult{Address: "192.0.2.5"}),
		say(volume, provider.TaskResult{Device: "scsi-right"})); err != nil {
		t.Fatal(err)
	}
	w.restart()
	now, err := w.GetMachine(t.Context(), made.ID)
	if err != nil || now.Address != "192.0.2.5" || w.attachment(v.ID) !=
		provider.AttachmentAttached {
		t.Errorf("%+v, %s: %v", now, w.attachment(v.ID), err)
	}
	// What the host has shown is right.
	wants(t, say(machine, provider.TaskResult{Address: "192.0.2.7"}), provider.ErrIncorrectState)
	wants(t, say(volume, provider.TaskResult{Device: "scsi-b"}), provider.ErrIncorrectState)
	if err := errors.Join(say(machine, provider.TaskResult{}),
		say(volume, provider.TaskResult{Device: "scsi-right"})); err != nil {
		t.Error(err)
	}
}

func TestDetachIsWhatTheHostDoesNotShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, v := w.machine(), w.volume("scsi-a")
	w.hosts.show(nil, "scsi-a")
	for _, away := range []bool{false, true} {
		if _, err := w.AttachVolume(t.Context(), v.ID, m.ID); err != nil {
			t.Fatal(err)
		}
		w.hosts.show(nil, "scsi-a")
		w.settle(v.ID)
		if _, err := w.DetachVolume(t.Context(), v.ID, m.ID); err != nil {
			t.Fatal(err)
		}
		_, err := w.CompleteTask(t.Context(), w.task(v.ID).ID, provider.TaskResult{})
		wants(t, err, provider.ErrIncorrectState, "still shows")
		task := w.task(v.ID)
		if away { // nobody to ask: the result counts
			w.hosts.show(errors.New("away"))
		} else {
			w.hosts.show(nil)
		}
		if _, err := w.CompleteTask(t.Context(), task.ID, provider.TaskResult{}); err != nil {
			t.Fatal(err)
		}
		if a := w.attachment(v.ID); a != provider.AttachmentNone {
			t.Errorf("it is %q", a)
		}
	}
}

// settle lets the host be asked now.
func (w *world) settle(object string) {
	w.t.Helper()
	w.restart() // which forgets what the host showed
	if a := w.attachment(object); a != provider.AttachmentAttached {
		w.t.Fatalf("it is %q", a)
	}
}

func TestWhatAKilledWriterLeftIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	left := filepath.Join(w.dir, ".records.json.1.tmp")
	if err := errors.Join(os.MkdirAll(w.dir, 0o700),
		os.WriteFile(left, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	w.machine()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
}

func TestNoSecretIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.machine()
	data, err := os.ReadFile(filepath.Join(w.dir, "records.json"))
	if err != nil || strings.Contains(string(data), "secret") {
		t.Errorf("records hold the join file: %v", err)
	}
	info, err := os.Stat(filepath.Join(w.dir, "records.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("records are %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "records.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "records.json") {
		t.Errorf("broken records pass the check: %v", err)
	}
	if _, err := w.CreateVolume(t.Context(), provider.CreateVolumeRequest{ClientToken: "x",
		SizeBytes: 1 << 30}); err == nil {
		t.Error("broken records are written over")
	}
}
