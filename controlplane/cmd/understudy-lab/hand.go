package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/internal/lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/deploy/systemd"
)

// What a hypervisor's console can do, for operators and tests who are the provider themselves
// (docs/manual.md). Each command waits for its effect, and those that make something print it as a
// line of JSON.

const devicePrefix = "virtio-"

// made is what a command made.
type made struct {
	Host      string `json:"host,omitempty"`
	Address   string `json:"address,omitempty"`
	Volume    string `json:"volume,omitempty"`
	Device    string `json:"device,omitempty"`
	Snapshot  string `json:"snapshot,omitempty"`
	SizeBytes int64  `json:"size_bytes,omitempty"`
}

func (m made) print(cmd *cobra.Command) error {
	return json.NewEncoder(cmd.OutOrStdout()).Encode(
		m)
}

// withAgent opens a lab whose hosts get the agent.
func withAgent(name, agent string) (*nspawn.Provider, error) {
	return nspawn.New(nspawn.Config{Name: name, AgentBinary: agent,
		EnableUnits: []string{systemd.AgentUnit}, Files: lab.AgentFiles()})
}

func newAddress(lab *string) *cobra.Command {
	return &cobra.Command{
		Use: "address", Short: "Make the lab's network, and print this box's address in it",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := open(*lab)
			if err != nil {
				return err
			}
			address, err := p.HostAddress(cmd.Context())
			fmt.Fprintln(cmd.OutOrStdout(), address)
			return err
		},
	}
}

func newCreate(lab *string) *cobra.Command {
	var image, join, agent string
	var bare bool
	cmd := &cobra.Command{
		Use:   "create HOST --image IMAGE --join FILE",
		Short: "Make a host by hand, with an agent and its join file", Args: cobra.ExactArgs(1),
		Long: "Make a host, switch it on, and print its address, and the device and size of " +
			"the data volume that its image came with.",
		Example: "  understudy token create db1 --out - | understudy-lab create db1 --image " +
			"trixie --join -",
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := readJoin(cmd.InOrStdin(), join)
			if err != nil {
				return err
			}
			p, err := withAgent(*lab, agent)
			if bare {
				p, err = open(*lab)
			}
			if err != nil {
				return err
			}
			m, err := p.CreateMachine(cmd.Context(),
				provider.CreateMachineRequest{ClientToken: uuid.NewString(), Name: args[0],
					Image: image, UserData: file})
			if err != nil {
				return err
			}
			if m, err = untilMachine(cmd.Context(), p, m.ID, provider.MachineRunning); err != nil {
				return err
			}
			volumes, err := p.ListVolumes(cmd.Context(), provider.Filter{MachineID: m.ID})
			if err != nil {
				return err
			}
			out := made{Host: m.ID, Address: m.Address}
			for _, v := range volumes {
				out.Volume, out.Device, out.SizeBytes = v.ID, devicePrefix+v.ID, v.SizeBytes
			}
			return out.print(cmd)
		},
	}
	cmd.Flags().StringVar(&image, "image", "trixie", "`IMAGE` to make it from")
	cmd.Flags().StringVar(&join, "join", "", "join `FILE` for its agent, - for standard input")
	cmd.Flags().StringVar(&agent, "agent-binary", besideThis("understudy-agent"),
		"`FILE` that is put into it as the agent")
	cmd.Flags().BoolVar(&bare, "bare", false, "put nothing of Understudy into it")
	return cmd
}

func readJoin(in io.Reader, path string) ([]byte, error) {
	switch path {
	case "":
		return nil, nil
	case "-":
		return io.ReadAll(io.LimitReader(in, provider.MaxUserData+1))
	}
	return os.ReadFile(path)
}

func newDestroy(lab *string) *cobra.Command {
	return &cobra.Command{
		Use: "destroy HOST", Short: "Destroy a host, and the data volume that its image came with",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, id, err := find(cmd.Context(), *lab, args[0])
			if err != nil {
				return err
			}
			if err := p.TerminateMachine(cmd.Context(), id); err != nil {
				return err
			}
			_, err = untilMachine(cmd.Context(), p, id, provider.MachineTerminated)
			return err
		},
	}
}

func newVolume(lab *string) *cobra.Command {
	volume := &cobra.Command{Use: "volume",
		Short: "Make, attach, detach and delete volumes by hand"}
	volume.AddCommand(newVolumeCreate(lab), newPlug(lab, "attach", "Attach a volume to a host",
		attach), newPlug(lab, "detach", "Detach a volume from a host", detach),
		&cobra.Command{
			Use: "delete VOLUME", Short: "Delete a volume that is attached nowhere",
			Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				p, err := existing(*lab)
				if err != nil {
					return err
				}
				return p.DeleteVolume(cmd.Context(), volumeID(args[0]))
			},
		})
	return volume
}

// volumeID takes a volume's id or its device's name.
func volumeID(text string) string { return strings.TrimPrefix(text, devicePrefix) }

func newVolumeCreate(lab *string) *cobra.Command {
	var req provider.CreateVolumeRequest
	cmd := &cobra.Command{
		Use: "create", Short: "Make a volume, blank or from a snapshot", Args: cobra.NoArgs,
		Example: "  understudy-lab volume create --bytes 2147483648\n  understudy-lab volume " +
			"create --from snap-0123456789ab",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := open(*lab)
			if err != nil {
				return err
			}
			req.ClientToken = uuid.NewString()
			v, err := p.CreateVolume(cmd.Context(), req)
			if err != nil {
				return err
			}
			if v, err = untilVolume(cmd.Context(), p, v.ID,
				func(
					v provider.Volume) bool {
					return v.State == provider.VolumeAvailable
				}); err != nil {
				return err
			}
			return made{Volume: v.ID, Device: devicePrefix + v.ID,
				SizeBytes: v.SizeBytes}.print(cmd)
		},
	}
	cmd.Flags().Int64Var(&req.SizeBytes, "bytes", 0, "size; that of the snapshot when not given")
	cmd.Flags().StringVar(&req.SnapshotID, "from", "", "`SNAPSHOT` to copy")
	return cmd
}

func newPlug(lab *string, verb, short string, act func(context.Context, *nspawn.Provider, string,
	string) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " VOLUME HOST", Short: short, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, host, err := find(cmd.Context(), *lab, args[1])
			if err != nil {
				return err
			}
			return act(cmd.Context(), p, volumeID(args[0]), host)
		},
	}
}

func attach(ctx context.Context, p *nspawn.Provider, volume, host string) error {
	_, err := p.AttachVolume(ctx, volume, host)
	if err == nil {
		_, err = untilVolume(ctx, p, volume,
			func(v provider.Volume) bool { return v.Attachment == provider.AttachmentAttached })
	}
	return err
}

func detach(ctx context.Context, p *nspawn.Provider, volume, host string) error {
	_, err := p.DetachVolume(ctx, volume, host)
	if err == nil {
		_, err = untilVolume(ctx, p, volume,
			func(v provider.Volume) bool { return v.MachineID == "" })
	}
	return err
}

func newSnapshot(lab *string) *cobra.Command {
	snapshot := &cobra.Command{Use: "snapshot", Short: "Copy volumes by hand"}
	snapshot.AddCommand(&cobra.Command{
		Use: "create VOLUME", Short: "Copy a volume as it is now", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := existing(*lab)
			if err != nil {
				return err
			}
			s, err := p.CreateSnapshot(cmd.Context(),
				provider.CreateSnapshotRequest{VolumeID: volumeID(args[0])})
			if err == nil {
				err = poll(cmd.Context(), func() (bool, error) {
					s, err = p.GetSnapshot(cmd.Context(), s.ID)
					return s.State == provider.SnapshotCompleted, err
				})
			}
			if err != nil {
				return err
			}
			return made{Snapshot: s.ID, SizeBytes: s.SizeBytes}.print(cmd)
		},
	}, &cobra.Command{
		Use: "delete SNAPSHOT", Short: "Delete a copy", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := existing(*lab)
			if err != nil {
				return err
			}
			return p.DeleteSnapshot(cmd.Context(), args[0])
		},
	})
	return snapshot
}

func untilMachine(ctx context.Context, p *nspawn.Provider, id string,
	want provider.MachineState) (m provider.Machine, err error) {
	err = poll(ctx, func() (bool, error) {
		m, err = p.GetMachine(ctx, id)
		return m.State == want, err
	})
	return m, err
}

func untilVolume(ctx context.Context, p *nspawn.Provider, id string,
	is func(provider.Volume) bool) (v provider.Volume, err error) {
	err = poll(ctx, func() (bool, error) {
		v, err = p.GetVolume(ctx, id)
		return is(v), err
	})
	return v, err
}

// poll looks until it is done.
func poll(ctx context.Context, look func() (done bool, err error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
