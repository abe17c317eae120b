package nspawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// labRecord is written first and removed last.
type labRecord struct {
	Name   string
	Subnet string
	// DevicePattern is Config.DevicePattern as it was when the lab was made.
	DevicePattern string
	CreatedAt     time.Time
}

// Phases of a machine, as recorded. What callers see is computed from them.
const (
	phaseStarting    = "starting"
	phaseRunning     = "running"
	phaseStopping    = "stopping"
	phaseStopped     = "stopped"
	phaseTerminating = "terminating"
	phaseTerminated  = "terminated"
)

type machineRecord struct {
	ID         string
	Name       string
	Token      string
	ParamsHash string
	Tags       map[string]string
	Image      string
	Zone       string
	Ordinal    int
	Address    string
	Loopback   []netip.Addr
	MachineID  string
	Lower      []string
	Default    *defaultVolumeRecord
	StopLimit  time.Duration
	Phase      string
	PhaseAt    time.Time
	Reason     string
	Leader     int
	CGroup     string
	CreatedAt  time.Time
	StartedAt  time.Time
}

type defaultVolumeRecord struct {
	ID         string
	Filesystem string
}

type volumeRecord struct {
	ID                  string
	Token               string
	ParamsHash          string
	Tags                map[string]string
	SizeBytes           int64
	Type                string
	Zone                string
	SnapshotID          string
	Default             bool
	DeleteOnTermination bool
	MachineID           string
	AttachedAt          time.Time
	Detaching           bool
	Error               string
	CreatedAt           time.Time
	DeletedAt           time.Time
}

type snapshotRecord struct {
	ID        string
	VolumeID  string
	SizeBytes int64
	Tags      map[string]string
	Error     string
	CreatedAt time.Time
	DeletedAt time.Time
}

const (
	machineKind  = "machine"
	volumeKind   = "volume"
	snapshotKind = "snapshot"
)

var idPattern = regexp.MustCompile(`^(i|vol|snap)-[0-9a-f]{12}$`)

func loadRecord[T any](l lab, kind, id string) (*T, error) {
	if !idPattern.MatchString(id) {
		return nil, provider.Errorf(provider.ErrNotFound, "",
			"%s %.40q not found: that is not an ID of this provider", kind, id)
	}
	record := new(T)
	err := readJSON(l.path("records", kind, id+".json"), record)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, provider.Errorf(provider.ErrNotFound, id, "%s %s not found", kind, id)
	}
	return record, err
}

func saveRecord(l lab, kind, id string, record any) error {
	return writeJSON(l.path("records", kind, id+".json"), record)
}

// allRecords is every record of a kind, by ID.
func allRecords[T any](l lab, kind string) ([]*T, error) {
	entries, err := os.ReadDir(l.path("records", kind))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []*T
	for _, entry := range entries {
		id, isRecord := strings.CutSuffix(entry.Name(), ".json")
		if !isRecord {
			continue // the temporary file of a writer that was killed
		}
		record, err := loadRecord[T](l, kind, id)
		if err != nil {
			return nil, err
		}
		all = append(all, record)
	}
	return all, err
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("cannot read record %s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return writeAtomic(path, append(data, '\n'), 0o600)
}

// writeAtomic replaces a file, with its directory, in one step.
func writeAtomic(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, data, mode)
}

func byCreation[T any](all []T, created func(T) time.Time) []T {
	slices.SortStableFunc(all, func(a, b T) int { return created(a).Compare(created(b)) })
	return all
}
