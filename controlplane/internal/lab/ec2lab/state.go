package ec2lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// state is what EC2 knows and the lab does not, by EC2's IDs.
type state struct {
	file string

	Instances map[string]*instanceState
	Volumes   map[string]*volumeState
	Snapshots map[string]*begun
	// Signing is the key and the certificate, as PEM, that sign instance identity documents.
	Signing struct{ Key, Certificate []byte }
}

// begun is what a fault has in store for a volume or a snapshot: it is under way until Done, and
// ends in error if Fails says why.
type begun struct {
	Done  time.Time
	Fails string
}

type instanceState struct {
	Token, Hash  string
	Image        string
	InstanceType string
	Subnet       string
	// Public is its public address, Credits how it is charged for CPU beyond what its type earns.
	Public, Credits string
	// Letters are the device names, by their last letter, that volumes had on it.
	Letters map[string]bool
	// Root is what cloud-init keeps on it, Booted what it made of the last boot.
	Root   cloudInit
	Booted Booted
	// Ended is the reason by which EC2 ended it by itself.
	Ended      string
	Encrypted  bool   // its root volume
	KMSKey     string // of its own volumes
	VolumeTags map[string]string
	Metadata   metadataState
	UserData   string
	CreatedAt  time.Time
	// Started is when it was last started after a stop; zero when it never was.
	Started time.Time
}

type metadataState struct {
	Endpoint, Tokens string
	HopLimit         int32
}

type volumeState struct {
	Token, Hash string
	Type        string
	IOPS        int32
	Throughput  int32
	Encrypted   bool
	KMSKey      string
	Begun       *begun
	Device      string
	AttachedAt  time.Time
	// PlugAt is when the device is to appear on the host of PlugInto.
	PlugAt   time.Time
	PlugInto string
	// Stuck says that its attachment hangs.
	Stuck    bool
	Modified *modification
	// Modifications are when its last modifications began.
	Modifications []time.Time
	// OfImage says that it came with its instance, GoesToo that it is deleted with it; both of
	// volumes that the lab's image has not.
	OfImage, GoesToo bool
	// SnapshotAsked is when a snapshot was last asked for, SnapshotsLeft when one was deleted that
	// was pending.
	SnapshotAsked time.Time
	SnapshotsLeft []time.Time
}

type modification struct {
	From, To int32
	At       time.Time
}

func loadState(file string) (*state, error) {
	s := &state{file: file, Instances: map[string]*instanceState{},
		Volumes: map[string]*volumeState{}, Snapshots: map[string]*begun{}}
	if file == "" {
		return s, nil
	}
	if err := atomicfile.Tidy(file); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the state of the EC2 endpoint: %w", err)
	}
	return s, nil
}

func (s *state) save() error {
	if s.file == "" {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return atomicfile.Write(s.file, data, 0o600)
}

func (s *state) instance(id string) *instanceState {
	if s.Instances[id] == nil {
		s.Instances[id] = &instanceState{}
	}
	return s.Instances[id]
}

func (s *state) volume(id string) *volumeState {
	if s.Volumes[id] == nil {
		s.Volumes[id] = &volumeState{Type: "gp2"}
	}
	return s.Volumes[id]
}
