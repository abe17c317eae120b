package agentpool

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// longestID is what is taken of the id of a record of marks.
const longestID = 64

// Observe gives what the server's agent at the address observes to take, at once, whenever its
// facts change, and at least once an interval, until ctx ends or the agent is out of reach. last is
// what an earlier call told last, or nothing: its facts need not be sent again. It asks nobody else
// for anything, and waits for no other agent.
func (p *Pool) Observe(ctx context.Context, server, address string, interval time.Duration,
	last replication.Observed, take func(replication.Observed)) error {
	if address == "" {
		return unreachable(server, "its machine has no address yet", nil)
	}
	conn, err := p.line(server, address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := agentv1.NewObservationServiceClient(p.watched(conn)).Observe(ctx,
		&agentv1.ObserveRequest{BeatInterval: durationpb.New(interval), KnownHash: last.Hash})
	if err != nil {
		return lost(ctx, server, err)
	}
	seen := observed{now: last}
	for {
		message, err := stream.Recv()
		if err != nil {
			return lost(ctx, server, err)
		}
		shown, known := peer.FromContext(stream.Context())
		switch {
		case !known || p.revoked(*shown):
			p.Forget(server)
			return revoked(server)
		case !seen.take(message):
			return errs.New(errs.Unavailable, errorsv1.Reason_REASON_AGENT_UNREACHABLE,
				"the agent of "+server+" sent no facts of what it observes",
				errs.Retry(time.Second), errs.Meta("server", server),
				errs.WithHint("read the agent's log on its host (journalctl -u understudy-agent)"))
		}
		take(seen.now)
	}
}

// Marks are those of the agent's latest observation.
func (a *agent) Marks(ctx context.Context) (replication.Marks, error) {
	bounded, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	stream, err := a.observe.Observe(bounded, &agentv1.ObserveRequest{
		BeatInterval: durationpb.New(time.Second)})
	if err != nil {
		return replication.Marks{}, lost(ctx, a.server, err)
	}
	first, err := stream.Recv()
	if err != nil {
		return replication.Marks{}, lost(ctx, a.server, err)
	}
	return facts(first.GetFacts()).Marks, nil
}

// observed is what a stream has told so far.
type observed struct{ now replication.Observed }

// take adds a message. It refuses one that relies on facts that were not sent.
func (o *observed) take(m *agentv1.ObserveResponse) bool {
	if f := m.GetFacts(); f != nil {
		o.now = facts(f)
		o.now.Hash = m.GetHash()
	}
	if m.GetHash() != o.now.Hash || o.now.Hash == "" {
		return false
	}
	now := time.Now()
	o.now.At = now.Add(-max(0, m.GetAge().AsDuration()))
	o.now.Clock = replication.Clock{Host: moment(m.GetTime()), Here: now}
	move(&o.now.Status, m.GetProgress())
	return true
}

func facts(f *agentv1.HostFacts) replication.Observed {
	o := replication.Observed{Status: status(f.GetMariadb()), PausedBy: f.GetReplicationPausedBy(),
		Starting: f.GetStarting(),
		Unit: replication.Unit{Active: f.GetUnit().GetActiveState(),
			Sub: f.GetUnit().GetSubState(), Result: f.GetUnit().GetResult(),
			ExitStatus: int(f.GetUnit().GetExitStatus()), Errors: f.GetUnit().GetErrors()},
		Volume: replication.VolumeState{ReadOnly: f.GetVolume().GetReadOnly(),
			Full: f.GetVolume().GetFull(), DeviceGone: f.GetVolume().GetDeviceGone(),
			WriteError: f.GetVolume().GetWriteError()}}
	for _, h := range f.GetHung() {
		o.Hung = append(o.Hung, replication.Hung{Probe: h.GetProbe(), Since: moment(h.GetSince()),
			Reason: h.GetReason()})
	}
	o.Marks = replication.Marks{Last: f.GetMarks().GetLastNumber()}
	id := f.GetMarks().GetRecordId() // it is kept on the server's record
	o.Marks.Record = strings.ToValidUTF8(id[:min(len(id), longestID)], "")
	for _, m := range f.GetMarks().GetMarks() {
		o.Marks.All = append(o.Marks.All, replication.Mark{Number: m.GetNumber(),
			Text: m.GetText(), LostRows: m.GetLostRows()})
	}
	return o
}

func move(s *replication.Status, p *agentv1.HostProgress) {
	s.BinlogPos, s.SlavePos = p.GetGtid().GetBinlogPos(), p.GetGtid().GetSlavePos()
	s.CurrentPos, s.BinlogState = p.GetGtid().GetCurrentPos(), p.GetGtid().GetBinlogState()
	s.BinlogFile, s.BinlogOffset = p.GetBinlogFile(), p.GetBinlogOffset()
	s.BinlogBytes = p.GetBinlogBytes()
	s.OldestBinlog, s.OldestGTID = p.GetOldestBinlog(), p.GetOldestGtid()
	s.HistoryClaim = claim(p.GetHistoryClaim())
	s.FilesystemUsed, s.FilesystemFree = p.GetFilesystemUsedBytes(), p.GetFilesystemFreeBytes()
	if p != nil && p.LockHolders != nil {
		s.LockHolders = p.GetLockHolders()
	}
	// What was given to others is theirs.
	connections := make([]replication.Connection, len(s.Connections))
	copy(connections, s.Connections)
	for i, c := range p.GetConnections()[:min(len(connections), len(p.GetConnections()))] {
		connections[i].IOState, connections[i].SQLState = c.GetIoState(), c.GetSqlState()
		connections[i].ReceivedPos = c.GetGtidIoPos()
		connections[i].ReadFile, connections[i].ReadOffset = c.GetReadFile(), c.GetReadOffset()
		connections[i].SecondsBehind = c.GetSecondsBehind().AsDuration()
		connections[i].SecondsKnown = c.GetSecondsBehind() != nil
	}
	s.Connections = connections
}
