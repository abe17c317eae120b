package agentpool

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/consistentpoint/wire"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// Status observes everything, also of a MariaDB that is down.
func (a *agent) Status(ctx context.Context) (replication.Status, error) {
	resp, err := call(ctx, a, lookLimit, a.mariadb.GetStatus, &agentv1.GetStatusRequest{})
	return answered(resp, time.Now()), err
}

// answered is a status with the clock that came with it; now is the control plane's.
func answered(resp *agentv1.GetStatusResponse, now time.Time) replication.Status {
	st := status(resp.GetStatus())
	if resp.GetTime() != nil {
		st.Clock = replication.Clock{Host: resp.GetTime().AsTime(), Here: now}
	}
	return st
}

// SetConfiguration writes the agent's option file.
func (a *agent) SetConfiguration(ctx context.Context,
	req kit.Configuration) (kit.Configured, error) {
	resp, err := call(ctx, a, changeLimit, a.mariadb.SetConfiguration, configuration(req))
	return kit.Configured{Changed: resp.GetChanged(), Overridden: resp.GetOverridden()}, err
}

// CheckDatadir refuses a server with files outside of its volume, and says what a copy needs.
func (a *agent) CheckDatadir(ctx context.Context) (*consistentpoint.Contract, error) {
	resp, err := call(ctx, a, fileLimit, a.mariadb.CheckDatadir, &agentv1.CheckDatadirRequest{})
	return wire.FromProto(resp.GetContract()), err
}

// PrepareDatadir makes a datadir fit for its first start here.
func (a *agent) PrepareDatadir(ctx context.Context,
	req kit.PrepareDatadir) (kit.PreparedDatadir, error) {
	resp, err := call(ctx, a, fileLimit, a.mariadb.PrepareDatadir, &agentv1.PrepareDatadirRequest{
		Datadir: req.Datadir, Initialize: req.Initialize, Copy: req.Copy,
		ExpectedNonce: req.ExpectedNonce, FencingToken: fencingToken(req.Token),
		Contract: wire.ToProto(req.Contract),
	})
	return kit.PreparedDatadir{Changes: resp.GetChanges(),
		DatadirVersion: resp.GetDatadirVersion(), BinaryVersion: resp.GetBinaryVersion()}, err
}

// UpgradeDatadir brings the system tables to the binary's version.
func (a *agent) UpgradeDatadir(ctx context.Context, timeout time.Duration, f kit.FencingToken,
	progress kit.Progress) (string, bool, error) {
	var last *agentv1.UpgradeDatadirResponse
	err := follow(ctx, a, orDefault(timeout, upgradeLimit)+answerGrace, a.mariadb.UpgradeDatadir,
		&agentv1.UpgradeDatadirRequest{Timeout: duration(timeout), FencingToken: fencingToken(f)},
		func(m *agentv1.UpgradeDatadirResponse) {
			tell(progress, m.GetProgress())
			last = m
		})
	if err == nil && last.GetDatadirVersion() == "" {
		err = cutShort(a.server, "UpgradeDatadir")
	}
	return last.GetDatadirVersion(), last.GetChanged(), err
}

// ProveWritable commits one row on a primary, and proves the filesystem on a replica.
func (a *agent) ProveWritable(ctx context.Context, f kit.FencingToken) (kit.WriteProof, error) {
	resp, err := call(ctx, a, lookLimit, a.mariadb.ProveWritable,
		&agentv1.ProveWritableRequest{FencingToken: fencingToken(f)})
	return kit.WriteProof{Latency: resp.GetLatency().AsDuration(), GTID: resp.GetGtid()}, err
}

// ChecksumTables sends a checksum of each table at one position.
func (a *agent) ChecksumTables(ctx context.Context, req kit.ChecksumTables,
	begin func(kit.ChecksumBegin), each func(kit.TableChecksum)) error {
	began, rowHash := false, 0
	err := follow(ctx, a, dataLimit, a.mariadb.ChecksumTables,
		&agentv1.ChecksumTablesRequest{AtGtid: req.AtGTID, Tables: req.Tables,
			SampleBytes: req.SampleBytes, SampleSeed: req.SampleSeed,
			SampleTime: durationpb.New(req.SampleTime)},
		func(m *agentv1.ChecksumTablesResponse) {
			if !began {
				began, rowHash = true, int(m.GetRowHash())
				begin(kit.ChecksumBegin{GTID: m.GetGtid(), Tables: int(m.GetTablesTotal()),
					Bytes: m.GetBytesTotal(), RowHash: rowHash})
			}
			if m.GetTable() != "" {
				each(tableChecksum(m, rowHash))
			}
		})
	if err == nil && !began {
		return cutShort(a.server, "ChecksumTables")
	}
	return err
}

// Inventory sends every object of the server with a digest of its definition.
func (a *agent) Inventory(ctx context.Context, names []string, each func(kit.Object)) (digests int,
	err error) {
	complete := false
	err = follow(ctx, a, inventoryLimit, a.mariadb.ReadInventory,
		&agentv1.ReadInventoryRequest{Names: names},
		func(m *agentv1.ReadInventoryResponse) {
			complete, digests = m.GetComplete(), int(m.GetDigests())
			for _, o := range m.GetObjects() {
				each(object(o))
			}
		})
	if err == nil && !complete {
		return 0, cutShort(a.server, "ReadInventory")
	}
	return digests, err
}
