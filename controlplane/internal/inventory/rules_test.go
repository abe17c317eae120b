package inventory_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// said is the text of an error, then the text of its hint.
func said(err error) string { return err.Error() + ": " + errs.HintOf(err).Text }

func TestValidateName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"db", "db1", "a-b", "a0", strings.Repeat("a", 40)} {
		if err := inventory.ValidateName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "a", "1a", "-a", "a-", "A", "aB", "a_b", "a.b", "a b", "a\n", "a\nb", "ä1", "../x",
		"a/b", "a'b", "$(id)", "--help", "a\x00b",
		strings.Repeat("a", 41), strings.Repeat("é", 4000),
		"controlplane", "localhost", "anonymous", "operator", "understudy", // our own
	} {
		err := inventory.ValidateName(name)
		if !errors.Is(err, errs.InvalidArgument) {
			t.Errorf("%q: %v, want ErrInvalid", name, err)
		}
		if err != nil && (len(err.Error()) > 400 || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: the error is %q", name, err)
		}
	}
}

func FuzzValidateName(f *testing.F) {
	f.Add("db1")
	f.Add("a\n")
	f.Fuzz(func(t *testing.T, name string) {
		if inventory.ValidateName(name) == nil &&
			strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%q passes", name)
		}
	})
}

func TestBinlogAutoPurge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		server   inventory.Server
		replicas []string
		on       bool
		want     string
	}{
		{"on a lone server", inventory.Server{Name: "db1", Role: inventory.RoleNone}, nil, true,
			""},
		{"on a primary without replicas",
			inventory.Server{Name: "db1", Role: inventory.RolePrimary}, nil, true, ""},
		{"on a replica", inventory.Server{Name: "db2", Role: inventory.RoleReplica, Primary: "db1",
			ReplicationConfigured: true}, nil, true,
			"binlog auto purge cannot be turned on: server db2 is a replica of db1: leave binlog " +
				"auto purge off: purging goes by what replicas still need"},
		{"on a primary with replicas", inventory.Server{Name: "db1", Role: inventory.RolePrimary},
			[]string{"db2", "db3"}, true,
			"binlog auto purge cannot be turned on: server db1 has replicas that may need the " +
				"binlogs it would remove: db2, db3: purge up to what all of them have applied " +
				"instead"},
		{"on a primary whose replica is being made",
			inventory.Server{Name: "db1", Role: inventory.RolePrimary, ReplicationConfigured: true},
			nil, true,
			"binlog auto purge cannot be turned on: replication is configured on server db1: " +
				"wait until the replica that is being made is there or given up"},
		{"off on a replica", inventory.Server{Name: "db2", Role: inventory.RoleReplica,
			Primary: "db1", BinlogAutoPurge: true}, nil, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tt.server
			err := s.SetBinlogAutoPurge(tt.on, tt.replicas)
			if tt.want == "" && (err != nil || s.BinlogAutoPurge != tt.on) {
				t.Errorf("error = %v, auto purge = %v", err, s.BinlogAutoPurge)
			}
			if tt.want != "" && (err == nil || said(err) != tt.want ||
				!errors.Is(err, errs.FailedPrecondition) || s.BinlogAutoPurge) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestBecomingAReplicaClearsAutoPurge(t *testing.T) {
	t.Parallel()
	s := inventory.Server{Name: "db2", Role: inventory.RoleNone, BinlogAutoPurge: true}
	if err := s.BecomeReplica("db1", nil); err != nil {
		t.Fatal(err)
	}
	if s.BinlogAutoPurge || !s.ReplicationConfigured || s.Role != inventory.RoleReplica ||
		s.Primary != "db1" {
		t.Errorf("became %+v", s)
	}
	if err := s.BecomeReplica("db1", nil); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestRoleRefusals(t *testing.T) {
	t.Parallel()
	replica := inventory.Server{Name: "db2", Role: inventory.RoleReplica, Primary: "db1",
		ReplicationConfigured: true}
	for name, change := range map[string]func(s *inventory.Server) error{
		"of nobody": func(s *inventory.Server) error {
			return s.BecomeReplica("",
				nil)
		},
		"of itself": func(s *inventory.Server) error {
			return s.BecomeReplica("db2",
				nil)
		},
		"of another primary": func(s *inventory.Server) error {
			return s.BecomeReplica("db9",
				nil)
		},
		"with its own replicas": func(s *inventory.Server) error {
			return s.BecomeReplica("db1",
				[]string{"db3"})
		},
		"a primary": func(s *inventory.Server) error { return s.BecomePrimary() },
		"leaving its replicas": func(s *inventory.Server) error {
			return s.LeaveReplication(
				[]string{"db3"})
		},
	} {
		s := replica
		err := change(&s)
		if errs.HintOf(err).Empty() || errs.ReasonOf(err) != errorsv1.Reason_REASON_WRONG_ROLE {
			t.Errorf("%s: %v, want a refusal with a reason and a hint", name, err)
		}
		if s.Role != replica.Role || s.Primary != replica.Primary || !s.ReplicationConfigured {
			t.Errorf("%s: refused, and still became %+v", name, s)
		}
	}
}

// TestInvariantsHold does whatever the rules allow, in any order, to a small fleet, and checks it
// after every change.
func TestInvariantsHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fleet := []*inventory.Server{{Name: "a", ServerID: 1}, {Name: "b", ServerID: 2},
			{Name: "c", ServerID: 3}}
		replicas := func(of string) (names []string) {
			for _, s := range fleet {
				if s.Role == inventory.RoleReplica && s.Primary == of {
					names = append(names, s.Name)
				}
			}
			return names
		}
		pick := func(t *rapid.T) *inventory.Server {
			return rapid.SampledFrom(fleet).Draw(t,
				"server")
		}
		t.Repeat(map[string]func(*rapid.T){
			"become replica": func(t *rapid.T) {
				s, primary := pick(t), pick(t)
				gained := *primary
				if gained.GainReplica() != nil ||
					s.BecomeReplica(primary.Name, replicas(s.Name)) != nil {
					return
				}
				*primary = gained
			},
			"leave": func(t *rapid.T) {
				s := pick(t)
				was := s.Primary
				if s.LeaveReplication(replicas(s.Name)) == nil && was != "" {
					for _, p := range fleet {
						if p.Name == was {
							p.LoseReplica(replicas(was))
						}
					}
				}
			},
			"primary": func(t *rapid.T) { _ = pick(t).BecomePrimary() },
			"auto purge": func(t *rapid.T) {
				s := pick(t)
				_ = s.SetBinlogAutoPurge(
					rapid.Bool().Draw(t, "on"), replicas(s.Name))
			},
			"state": func(t *rapid.T) {
				_ = pick(t).SetState(rapid.SampledFrom([]inventory.ServerState{
					inventory.ServerProvisioning, inventory.ServerReady, inventory.ServerFailed,
					inventory.ServerUnreachable, inventory.ServerDeleting,
				}).Draw(t, "to"), "")
			},
			"": func(t *rapid.T) {
				for _, s := range fleet {
					if err := s.Check(replicas(s.Name)); err != nil {
						t.Fatal(err)
					}
				}
			},
		})
	})
}

func TestCheckFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]inventory.Server{
		"replication is configured and binlog auto purge is on": {Role: inventory.RolePrimary,
			ReplicationConfigured: true, BinlogAutoPurge: true},
		"binlog auto purge is on where replicas need the binlogs": {Role: inventory.RoleReplica,
			Primary: "p", BinlogAutoPurge: true},
		`role PRIMARY does not go with primary "p"`: {Role: inventory.RolePrimary,
			Primary: "p"},
		"it is a replica without replication configured": {Role: inventory.RoleReplica,
			Primary: "p"},
		"it is its own primary": {Name: "p",
			Role: inventory.RoleReplica, Primary: "p"},
		"it is ready without a server_id": {State: inventory.ServerReady},
	} {
		if err := s.Check(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestMountsNameAttachedVolumes(t *testing.T) {
	t.Parallel()
	s := inventory.Server{Name: "db1", MachineID: "m1",
		Mounts: []inventory.Mount{{Volume: "v1", Path: "/srv/mariadb"}}}
	good := inventory.Volume{ID: "v1", MachineID: "m1", State: inventory.VolumeAttached}
	if err := s.CheckMounts([]inventory.Volume{good}); err != nil {
		t.Error(err)
	}
	away, other, image := good, good, good
	away.State, other.MachineID, image.ImageDefault = inventory.VolumeDeleted, "m2", true
	for name, volumes := range map[string][]inventory.Volume{"gone": nil, "deleted": {away},
		"elsewhere": {other}, "the image's": {image}} {
		if err := s.CheckMounts(volumes); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestServerStates(t *testing.T) {
	t.Parallel()
	allowed := map[inventory.ServerState]string{
		"":                           "PROVISIONING READY DELETING",
		inventory.ServerProvisioning: "PROVISIONING READY FAILED UNREACHABLE DELETING",
		inventory.ServerReady:        "PROVISIONING READY FAILED UNREACHABLE DELETING",
		inventory.ServerFailed:       "PROVISIONING READY FAILED UNREACHABLE DELETING",
		inventory.ServerUnreachable:  "PROVISIONING READY FAILED UNREACHABLE DELETING",
		inventory.ServerDeleting:     "FAILED DELETING DELETED",
		inventory.ServerDeleted:      "DELETED",
	}
	all := []inventory.ServerState{
		inventory.ServerProvisioning, inventory.ServerReady, inventory.ServerFailed,
		inventory.ServerUnreachable, inventory.ServerDeleting, inventory.ServerDeleted,
	}
	for from, want := range allowed {
		var got []string
		for _, to := range all {
			s := inventory.Server{Name: "db1", State: from}
			if err := s.SetState(to, "why"); err == nil {
				got = append(got, string(to))
			} else if s.State != from {
				t.Errorf("refused, and still became %s", s.State)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("from %q: %v, want %s", from, got, want)
		}
	}
}

func readySnapshot() inventory.Snapshot {
	return inventory.Snapshot{
		ID: "s1", Server: "db1", ProviderID: "p", State: inventory.SnapshotReady,
		Point: consistentpoint.Point{ServerID: 1, ServerVersion: "11.8.6", FilesystemUUID: "u",
			Filesystem: "xfs", Nonce: "n", BinlogPos: "0-1-1", SlavePos: "0-2-2"},
	}
}

func TestUsableSnapshots(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*inventory.Snapshot){
		"": func(*inventory.Snapshot) {},
		"snapshot s1 is not complete: wait until it is READY": func(
			s *inventory.Snapshot) {
			s.State = inventory.SnapshotPending
		},
		"snapshot s1 is FAILED (the hold broke): take a new one": func(
			s *inventory.Snapshot) {
			s.State, s.StateReason = inventory.SnapshotFailed, "the hold broke"
		},
		"snapshot s1 is DELETED: take a new one": func(
			s *inventory.Snapshot) {
			s.State = inventory.SnapshotDeleted
		},
		"snapshot s1 is of server db7, not of db1: use a snapshot of db1": func(
			s *inventory.Snapshot) {
			s.Server = "db7"
		},
		"snapshot s1 has no record of the nonce: take a new one": func(
			s *inventory.Snapshot) {
			s.Point.Nonce = ""
		},
		"snapshot s1 has no record of the filesystem's identity: take a new one": func(
			s *inventory.Snapshot) {
			s.Point.FilesystemUUID = ""
		},
		"snapshot s1 has no record of the source's server_id: take a new one": func(
			s *inventory.Snapshot) {
			s.Point.ServerID = 0
		},
		"snapshot s1 has no record of the source's version: take a new one": func(
			s *inventory.Snapshot) {
			s.Point.ServerVersion = ""
		},
	} {
		s := readySnapshot()
		change(&s)
		switch err := s.Usable("db1"); {
		case want == "" && err != nil, want != "" && (err == nil || said(err) != want):
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestSnapshotStates(t *testing.T) {
	t.Parallel()
	s := readySnapshot()
	s.State = inventory.SnapshotPending
	if err := s.SetState(inventory.SnapshotReady, ""); err != nil {
		t.Error(err)
	}
	never := readySnapshot()
	never.State, never.ProviderID = inventory.SnapshotPending, ""
	blind := readySnapshot()
	blind.State, blind.Point = inventory.SnapshotPending, consistentpoint.Point{}
	gone := inventory.Snapshot{ID: "s1", State: inventory.SnapshotDeleted}
	for _, s := range []inventory.Snapshot{never, blind, gone} {
		if err := s.SetState(inventory.SnapshotReady, ""); !errors.Is(err,
			errs.FailedPrecondition) {
			t.Errorf("%+v became ready: %v", s, err)
		}
	}
}

func TestRedeem(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	token := inventory.JoinToken{Hash: "h", Server: "db1", Expires: now.Add(time.Minute)}
	if err := token.Redeem("db1", "k1", now); err != nil || token.UsedBy != "k1" ||
		!token.UsedAt.Equal(now) {
		t.Fatalf("%v, %+v", err, token)
	}
	if err := token.Redeem("db1", "k1", now.Add(time.Second)); err != nil ||
		!token.UsedAt.Equal(now) {
		t.Errorf("the same key again: %v, %+v", err, token)
	}
	for name, err := range map[string]error{
		"another key":    token.Redeem("db1", "k2", now),
		"another server": token.Redeem("db2", "k1", now),
		"too late":       token.Redeem("db1", "k1", now.Add(time.Minute)),
	} {
		if !errors.Is(err, errs.PermissionDenied) {
			t.Errorf("%s: %v, want ErrDenied", name, err)
		}
	}
}
