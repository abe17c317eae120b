package fakecp

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Now is when the scene plays.
func Now() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC) }

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(Now().Add(-d)) }

// scene is what the fake knows.
type scene struct {
	servers   []*cpv1.Server
	snapshots []*cpv1.Snapshot
	jobs      []*cpv1.Job
	events    []*cpv1.Event
}

func newScene() *scene {
	return &scene{servers: sceneServers(), snapshots: sceneSnapshots(), jobs: sceneJobs(),
		events: sceneEvents()}
}

func sceneServers() []*cpv1.Server {
	mounts := func(volume string) []*cpv1.ServerMount {
		return []*cpv1.ServerMount{{Path: "/srv/mariadb", Volume: volume},
			{Path: "/var/lib/mysql", Volume: volume, BindSource: "/srv/mariadb/mysql"}}
	}
	return []*cpv1.Server{
		{Name: "servers/db1", Role: cpv1.Server_ROLE_PRIMARY, State: cpv1.Server_STATE_READY,
			Machine: "i-1", Address: "10.88.0.2", Port: 3306,
			ServerId: 101, MariadbVersion: "11.8.6", DatadirVersion: "11.8.6", Image: "trixie",
			Zone: "local", DataVolume: "vol-1", Mounts: mounts("vol-1"),
			LastSeenTime: ago(2 * time.Second), CreateTime: ago(26 * time.Hour), Etag: "e7",
			Provider: "nspawn"},
		{Name: "servers/db2", Role: cpv1.Server_ROLE_REPLICA, State: cpv1.Server_STATE_READY,
			Primary: "servers/db1", Machine: "i-2", Address: "10.88.0.3",
			Port: 3306, ServerId: 102, MariadbVersion: "11.8.6", DatadirVersion: "11.8.6",
			Image: "trixie", Zone: "local", DataVolume: "vol-4",
			Mounts: mounts("vol-4"), ReplicationConfigured: true,
			Snapshot: "snapshots/db1-20260102-140000", LastSeenTime: ago(time.Second),
			CreateTime: ago(time.Hour), Etag: "e9",
			Verified: verified(cpv1.VerifyLevel_VERIFY_LEVEL_FULL), Provider: "nspawn"},
		{Name: "servers/db3", Role: cpv1.Server_ROLE_REPLICA, State: cpv1.Server_STATE_UNREACHABLE,
			StateReason: "its agent was not heard of for 5m",
			Primary:     "servers/db1", Machine: "i-3", Address: "10.88.0.4", Port: 3306,
			ServerId:       103,
			MariadbVersion: "11.8.6", Image: "trixie",
			DataVolume: "vol-5", ReplicationConfigured: true, LastSeenTime: ago(5 * time.Minute),
			CreateTime: ago(50 * time.Minute), Etag: "e3",
			Verified: verified(cpv1.VerifyLevel_VERIFY_LEVEL_POSITION), Provider: "nspawn"},
		{Name: "servers/db1-r1", Role: cpv1.Server_ROLE_REPLICA, State: cpv1.Server_STATE_DELETED,
			Primary: "servers/db1", ServerId: 99, Etag: "e1"},
	}
}

func verified(level cpv1.VerifyLevel) *cpv1.Verification {
	return &cpv1.Verification{Level: level, Time: ago(40 * time.Minute)}
}

func sceneSnapshots() []*cpv1.Snapshot {
	return []*cpv1.Snapshot{
		{Name: "snapshots/db1-20260102-150000", Server: "servers/db1",
			State: cpv1.Snapshot_STATE_PENDING, Mode: cpv1.Snapshot_MODE_ONLINE,
			SizeBytes: 2 << 30, CreateTime: ago(4 * time.Second), Etag: "s2"},
		{Name: "snapshots/db1-20260102-140000", Server: "servers/db1", Volume: "vol-1",
			ProviderId: "snap-3", State: cpv1.Snapshot_STATE_READY,
			Mode: cpv1.Snapshot_MODE_ONLINE, SizeBytes: 2 << 30, CreateTime: ago(64 * time.Minute),
			Etag: "s1",
			Point: &cpv1.ConsistentPoint{SourceRole: cpv1.Server_ROLE_PRIMARY, ServerId: 101,
				ServerVersion: "11.8.6-MariaDB-log", Position: "0-101-4711",
				BinlogPos: "0-101-4711", CurrentPos: "0-101-4711",
				BinlogFile: "mysql-bin.000003", BinlogOffset: 187654,
				FilesystemUuid: "0b9a2f9e-5f0b-4d3c-8a55-0f4d6f3b7c11", Filesystem: "ext4",
				Datadir: "/srv/mariadb/mysql", Nonce: "a1b2c3",
				PointTime: ago(64 * time.Minute)},
			WriteBlock: durationpb.New(146 * time.Millisecond),
			Freeze:     durationpb.New(94 * time.Millisecond)},
		{Name: "snapshots/db1-20260101-030000", Server: "servers/db1",
			State: cpv1.Snapshot_STATE_FAILED, Mode: cpv1.Snapshot_MODE_ONLINE,
			StateReason: "the hold broke before the cut was confirmed",
			CreateTime:  ago(36 * time.Hour), Etag: "s0"},
	}
}

func sceneEvents() []*cpv1.Event {
	events := []*cpv1.Event{
		{Time: ago(time.Minute), Actor: "spiffe://understudy/operator/alice", Action: "job.create",
			Subject: "servers/db2", Text: "replica db2 of db1, verified full"},
		{Time: ago(2 * time.Hour), Actor: "jobs/j-0001", Action: "server.update",
			Subject: "servers/db1", Text: "state PROVISIONING -> READY"},
	}
	for n := range 58 {
		events = append(events, &cpv1.Event{Time: ago(3*time.Hour + time.Duration(n)*time.Minute),
			Actor: "jobs/j-0001", Action: "step.done",
			Subject: "jobs/j-0001", Text: fmt.Sprintf("step %d", n)})
	}
	return events
}
