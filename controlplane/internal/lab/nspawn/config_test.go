package nspawn

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	bad := map[string]Config{
		"no name":         {},
		"path as name":    {Name: "../a"},
		"newline in name": {Name: "a\nb"},
		"upper case":      {Name: "Lab"},
		"long name":       {Name: strings.Repeat("a", 33)},
		"colon in dir":    {Name: "a", Dir: "/tmp/a:b"},
		"space in dir":    {Name: "a", Dir: "/tmp/a b"},
		"root as dir":     {Name: "a", Dir: "/"},
		"relative file":   {Name: "a", Files: map[string]File{"etc/a": {}}},
		"escaping file":   {Name: "a", Files: map[string]File{"/etc/../../a": {}}},
		"unknown suite":   {Name: "a", Images: []ImageSpec{{Name: "x", Suite: "sid"}}},
		"path as unit": {Name: "a",
			Images: []ImageSpec{{Name: "x", Suite: "trixie", MaskUnits: []string{"../a.service"}}}},
		"odd filesystem": {Name: "a",
			Images: []ImageSpec{{Name: "x", Suite: "trixie",
				DefaultVolume: &provider.DefaultVolume{SizeBytes: 1 << 30, Filesystem: "ntfs"}}}},
	}
	for name, cfg := range bad {
		if _, err := New(cfg); !errors.Is(err, provider.ErrInvalid) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := New(Config{Name: "lab-1"}); err != nil {
		t.Error(err)
	}
}

func TestNamesFitTheKernel(t *testing.T) {
	t.Parallel()
	l := lab{name: strings.Repeat("a", 32), dir: "/lab"}
	for _, name := range []string{l.bridge(), l.veth(firstOrdinal + maxMachines)} {
		if len(name) > 15 {
			t.Errorf("interface name %s is longer than 15", name)
		}
	}
	if name := l.nspawn("i-0123456789ab"); len(name) > 64 {
		t.Errorf("machine name %s is longer than 64", name)
	}
	if name := l.deviceName(newID("vol")); len(name) > len("virtio-")+20 {
		t.Errorf("serial in %s is longer than virtio's 20", name)
	}
	if l.key() == (lab{name: "b"}).key() {
		t.Error("two labs have one key")
	}
}

func TestIDsOfOtherKindsAreNotPaths(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "../lab", "i-0123456789ab/..", "i-0123456789AB",
		"vol-0123456789ab\n", "snap-0123"} {
		if kind := kindOf(id); kind != "" {
			t.Errorf("%q is a %s", id, kind)
		}
	}
	for prefix, want := range map[string]string{"i": machineKind, "vol": volumeKind,
		"snap": snapshotKind} {
		if got := kindOf(newID(prefix)); got != want {
			t.Errorf("a new %s is a %q", want, got)
		}
	}
}

func TestStatesComeFromRecordedTimes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p, err := New(Config{Name: "a", Delays: Delays{Snapshot: 10 * time.Second, MachineStart: -1},
		Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		age      time.Duration
		state    provider.SnapshotState
		progress int
	}{
		{0, provider.SnapshotPending, 0},
		{4 * time.Second, provider.SnapshotPending, 40},
		{10 * time.Second, provider.SnapshotCompleted, 100},
		{-time.Hour, provider.SnapshotCompleted, 100}, // the clock was set back
	}
	for _, c := range cases {
		got := p.showSnapshot(&snapshotRecord{CreatedAt: now.Add(-c.age)})
		if got.State != c.state || got.Progress != c.progress {
			t.Errorf("a snapshot of age %s is %s at %d%%", c.age, got.State, got.Progress)
		}
	}
	if state := p.machineState(&machineRecord{Phase: phaseRunning,
		PhaseAt: now}); state != provider.MachineRunning {
		t.Errorf("with no delay a machine is %s", state)
	}
}

func TestLayerKeyChangesWithWhatIsInIt(t *testing.T) {
	t.Parallel()
	base := func(change func(*ImageSpec, map[string]File)) string {
		spec, files := ImageSpec{Name: "a", Suite: "trixie"},
			map[string]File{"/etc/a": {Content: []byte("a")}}
		change(&spec, files)
		key, err := layerKey(spec, files, nil)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	same := base(func(*ImageSpec, map[string]File) {})
	if same != base(func(*ImageSpec, map[string]File) {}) {
		t.Error("one content, two keys")
	}
	for name, change := range map[string]func(*ImageSpec, map[string]File){
		"mask": func(s *ImageSpec, _ map[string]File) { s.MaskUnits = []string{"a.service"} },
		"content": func(_ *ImageSpec,
			f map[string]File) {
			f["/etc/a"] = File{Content: []byte("b")}
		},
		"mode": func(_ *ImageSpec, f map[string]File) {
			f["/etc/a"] = File{Content: []byte("a"),
				Mode: 0o600}
		},
		"source": func(_ *ImageSpec,
			f map[string]File) {
			f["/bin/a"] = File{Source: "/proc/self/exe"}
		},
	} {
		if base(change) == same {
			t.Errorf("another %s, same key", name)
		}
	}
}

func TestRecordsAreReplacedWhole(t *testing.T) {
	t.Parallel()
	l := lab{name: "a", dir: t.TempDir()}
	for size := range int64(3) {
		if err := saveRecord(l, volumeKind, "vol-0123456789ab",
			&volumeRecord{ID: "vol-0123456789ab", SizeBytes: size}); err != nil {
			t.Fatal(err)
		}
	}
	// What a writer that was killed leaves.
	if err := writeAtomic(l.path("records", volumeKind, ".vol-ffffffffffff.json.123"), []byte("{"),
		0o600); err != nil {
		t.Fatal(err)
	}
	all, err := allRecords[volumeRecord](l, volumeKind)
	if err != nil || len(all) != 1 || all[0].SizeBytes != 2 {
		t.Errorf("records are %v, error %v", all, err)
	}
	if _, err := loadRecord[volumeRecord](l, volumeKind, "vol-000000000000"); !errors.Is(err,
		provider.ErrNotFound) {
		t.Errorf("missing record: %v", err)
	}
}

func TestSweepOnlyTakesALab(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := writeAtomic(dir+"/precious", []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Name: "never-made", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Sweep(t.Context()); !errors.Is(err, provider.ErrInvalid) {
		t.Errorf("sweeping somebody's directory: %v", err)
	}
	if err := writeJSON(dir+"/lab.json", labRecord{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Sweep(t.Context()); !errors.Is(err, provider.ErrInvalid) {
		t.Errorf("sweeping another lab's directory: %v", err)
	}
	if _, err := os.Stat(dir + "/precious"); err != nil {
		t.Error(err)
	}
}

func TestDirOfAKilledClaimIsClaimedAndSwept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// What a process leaves that is killed while it writes lab.json.
	if err := writeAtomic(dir+"/.lab.json.123", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Name: "never-made", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.claimDir(&labRecord{Name: "never-made"}); err != nil {
		t.Error(err)
	}
	if err := os.Remove(dir + "/lab.json"); err != nil {
		t.Fatal(err)
	}
	if err := p.checkOwnDir(); err != nil {
		t.Error(err)
	}
}
