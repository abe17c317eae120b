package nspawn

import (
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Defaults of Config.
const (
	DefaultImageCacheDir = "/var/cache/understudy/images"
	DefaultLabsDir       = "/var/lib/understudy/labs"
	defaultPoolBytes     = 64 << 30
	defaultStopLimit     = 20 * time.Second
)

// Config says where a lab is and what its machines are like.
type Config struct {
	// Name is the lab's: 1 to 32 lower-case letters, digits and hyphens. Two labs with
	// one name cannot be up on a box at a time.
	Name string
	// Dir holds all of the lab's state; default DefaultLabsDir/Name. It must be the
	// lab's alone: Sweep removes it.
	Dir string
	// ImageCacheDir holds the images, shared between labs.
	ImageCacheDir string
	// AgentBinary is put into every machine as /usr/bin/understudy-agent; empty: none.
	AgentBinary string
	// Files are put into every machine, by absolute path.
	Files map[string]File
	// EnableUnits are wanted by multi-user.target on every machine.
	EnableUnits []string
	// Images are known in addition to Builtin, or replace those of the same name.
	Images []ImageSpec
	// Zones are the lab's zones; default "lab-a" and "lab-b".
	Zones []string
	// DevicePattern is how a volume's device is called below /dev/disk/by-id, {id} being the part
	// of the volume's ID behind "vol-"; default virtio-vol-{id}. It is fixed when the lab is made.
	DevicePattern string
	// LoopbackAddresses are what each machine has on its loopback interface beside 127.0.0.1 and
	// ::1, such as that of a metadata service.
	LoopbackAddresses []netip.Addr
	// Delays are how long things seem to take.
	Delays Delays
	// Limits are the lab's quotas.
	Limits Limits
	// PoolBytes is the size of the sparse file that holds all volumes; default 64 GiB.
	PoolBytes int64
	// StopLimit is how long a machine may take to shut down; default 20 s.
	StopLimit time.Duration
	// SupervisorWords are the arguments with which this program calls Supervise; default none.
	SupervisorWords []string
	// Log gets what settling found; default none.
	Log *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// File is a file put into every machine.
type File struct {
	// Content is the file's content, unless Source is set.
	Content []byte
	// Source is a file on this box to copy.
	Source string
	// Mode is the file's mode; default 0644.
	Mode fs.FileMode
}

// Delays are how long states last at least, counted from the recorded time of the
// request. Zero means the default, negative none.
type Delays struct {
	// MachineStart is how long a machine is pending. Default 100 ms.
	MachineStart time.Duration
	// VolumeCreate is how long a volume is creating. Default 150 ms.
	VolumeCreate time.Duration
	// Attach is how long an attachment is attaching. Default 150 ms.
	Attach time.Duration
	// Delete is how long volumes are deleting. Default 100 ms.
	Delete time.Duration
	// Snapshot is how long a snapshot is pending. Default 300 ms.
	Snapshot time.Duration
	// Forget is how long a terminated machine stays readable. Default one hour.
	Forget time.Duration
}

// Limits are quotas; zero means the default.
type Limits struct {
	// Machines that are not terminated. Default and at most 250.
	Machines int
	// Volumes that are not deleted. Default 1000.
	Volumes int
	// Snapshots that are not deleted. Default 1000.
	Snapshots int
	// VolumeBytes is the size of one volume. Default 16 TiB.
	VolumeBytes int64
}

var devicePattern = regexp.MustCompile(`^[A-Za-z0-9._-]*\{id\}[A-Za-z0-9._-]*$`)

var labName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

func (c Config) withDefaults() (Config, error) {
	if !labName.MatchString(c.Name) {
		return c, provider.Errorf(provider.ErrInvalid, "",
			"lab name %.40q: use 1 to 32 lower-case letters, digits and inner hyphens", c.Name)
	}
	fill(&c.Dir, filepath.Join(DefaultLabsDir, c.Name))
	fill(&c.ImageCacheDir, DefaultImageCacheDir)
	fill(&c.PoolBytes, defaultPoolBytes)
	fill(&c.StopLimit, defaultStopLimit)
	if len(c.Zones) == 0 {
		c.Zones = []string{"lab-a", "lab-b"}
	}
	fill(&c.DevicePattern, defaultDevicePattern)
	if !devicePattern.MatchString(c.DevicePattern) {
		return c, provider.Errorf(provider.ErrInvalid, "",
			"device pattern %.80q: use letters, digits, . _ - and {id}", c.DevicePattern)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Delays.fill()
	c.Limits.fill()
	if err := c.checkPaths(); err != nil {
		return c, err
	}
	return c, nil
}

// checkPaths refuses what cannot be part of the options of an overlay mount.
func (c *Config) checkPaths() error {
	for _, dir := range []*string{&c.Dir, &c.ImageCacheDir} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return err
		}
		if strings.ContainsAny(abs, ":,\\ \t\n\"'") || abs == "/" {
			return provider.Errorf(provider.ErrInvalid, "", "directory %q: choose one without "+
				"spaces, quotes, colons, commas and backslashes", abs)
		}
		*dir = abs
	}
	for path := range c.Files {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			return provider.Errorf(provider.ErrInvalid, "",
				"file %q for the machines is not a clean absolute path", path)
		}
	}
	return nil
}

func (d *Delays) fill() {
	fillDelay(&d.MachineStart, 100*time.Millisecond)
	fillDelay(&d.VolumeCreate, 150*time.Millisecond)
	fillDelay(&d.Attach, 150*time.Millisecond)
	fillDelay(&d.Delete, 100*time.Millisecond)
	fillDelay(&d.Snapshot, 300*time.Millisecond)
	fillDelay(&d.Forget, time.Hour)
}

func (l *Limits) fill() {
	fill(&l.Machines, maxMachines)
	l.Machines = min(l.Machines, maxMachines)
	fill(&l.Volumes, 1000)
	fill(&l.Snapshots, 1000)
	fill(&l.VolumeBytes, 16<<40)
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func fillDelay(field *time.Duration, value time.Duration) {
	fill(field, value)
	*field = max(*field, 0)
}

func selfProgram() string {
	if path, err := os.Executable(); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return "/proc/self/exe"
}
