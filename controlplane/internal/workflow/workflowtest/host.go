package workflowtest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Host is a machine's system: mounts, units, MariaDB.
type Host struct {
	w       *World
	name    string
	machine *provider.Machine
	Down    bool // the agent does not answer

	Mounts   map[string]*mountPoint
	Masked   bool
	Enabled  bool
	Running  *server // MariaDB that runs; nil when it is stopped
	Starts   int     // of MariaDB
	StartsOn map[string]int
	File     *kit.Configuration // our option file
	root     *Disk              // the root disk, with the image's own datadir
	Binary   string
	Digests  int               // how its agent digests objects, and hashes rows; 0 is not told
	Marks    replication.Marks // what its agent noted
	epochs   map[string]int64
	sizes    map[string]int64 // of the volumes, as its kernel knows them
	late     map[string]int   // looks that found the former size
	Hidden   int              // looks at the block devices until a new one appears
	Unstarts int              // starts of MariaDB that fail
	// Passwords: its agent is of a version that knows no certificates for replicas.
	Passwords bool
	// SeenAs is where its primary sees it connect from, where that is not its address. NotAccepted:
	// handshakes with its certificate fail until it is renewed.
	SeenAs      string
	NotAccepted bool
	// Far is how long its IO thread takes until its primary serves it.
	Far time.Duration
	// Renewals are the effect keys under which its certificates were renewed, Reconnects how often
	// its IO thread was restarted alone.
	Renewals   []string
	Audited    bool     // what its agent recorded was fetched
	Ended      []string // users whose sessions were ended on it
	Reconnects int
	Hold       *simHold
	Resuming   func()                  // called once, before the hold is resumed
	NoTrace    bool                    // it remembers no hold: it was restarted
	Readers    []replication.Connected // strangers that replicate from it
	History    string                  // of its binary log; one of its own when empty
	Unknown    bool                    // the agent cannot tell the history, as one without a state
	Reason     string                  // why it is another history
	// histories are those that its agent began; Told is what it was told last of its own
	histories int
	Told      replication.Known
	Losses    map[string]string // settings that lose changes
	// Elsewhere is what a snapshot of the volume would lack, Contract what a host needs to read a
	// copy, Libraries what this one has for that.
	Elsewhere string
	Contract  consistentpoint.Contract
	Libraries []string
	// Databases are the servers of databases that its image runs.
	Databases []kit.DatabaseProcess
	// transactions that a replica applies between two looks; 0 is all
	rate int
	// Unbooted: MariaDB is not started by a boot.
	Unbooted   bool
	boots      int // restarts
	Cuts       int // machines that went off while MariaDB ran
	restarting int // looks until the machine is up again
	off        bool
	Received   string // the position up to which its relay logs go; empty: what it has applied
}

// mountPoint is what is mounted at a path, and what its unit file says.
type mountPoint struct {
	volume  string
	root    string
	Mounted bool
}

// server is a running MariaDB.
type server struct {
	Conf     kit.Configuration
	Disk     *Disk
	ReadOnly bool
	started  time.Time
}

func newHost(w *World, m *provider.Machine) *Host {
	binary := "11.8.6"
	if m.Image == "bookworm" {
		binary = "10.11.14"
	}
	h := &Host{w: w, name: m.Name, machine: m, Mounts: map[string]*mountPoint{}, Masked: true,
		Binary: binary, epochs: map[string]int64{},
		StartsOn: map[string]int{}, sizes: map[string]int64{},
		late: map[string]int{}}
	h.root = &Disk{fs: "overlay", UUID: "root", Data: newDatadir(binary)}
	return h
}

// Name is the server's that it is the host of.
func (h *Host) Name() string { return h.name }

// MountRaw mounts a volume at a path, as a boot or an operator does.
func (h *Host) MountRaw(path, volume, root string) {
	h.Mounts[path] = &mountPoint{volume: volume, root: root, Mounted: true}
}

// DatadirDisk is the disk that MariaDB finds at its datadir.
func (h *Host) DatadirDisk() *Disk {
	if m := h.Mounts[kit.DatadirPath]; m != nil && m.Mounted {
		return h.w.Cloud.Disks[m.volume]
	}
	return h.root
}

// Start starts MariaDB with the options that it finds.
func (h *Host) Start() {
	conf := kit.Configuration{ServerID: 1, LogBin: "mariadb-bin", Port: 3306}
	if h.File != nil {
		conf = *h.File
	}
	d := h.DatadirDisk()
	h.Running = &server{Conf: conf, Disk: d, ReadOnly: conf.ReadOnly, started: h.w.now()}
	d.Data.begins = append(d.Data.begins, len(d.Data.log))
	h.Starts++
	h.StartsOn[d.UUID]++
	if c := d.Data.Conn; c != nil {
		c.IO, c.SQL = !conf.SkipReplicaStart, !conf.SkipReplicaStart
	}
}

// Stop stops MariaDB.
func (h *Host) Stop() { h.Running = nil }

// replicate lets the replica apply what it can from its primary.
func (h *Host) replicate() {
	if h.Running == nil {
		return
	}
	d := h.Running.Disk.Data
	if d.Conn == nil || !d.Conn.IO || !d.Conn.SQL {
		return
	}
	p := h.primary(d)
	if p == nil || p.Running == nil {
		return
	}
	h.applyFrom(p.Running.Disk.Data, h.rate)
}

func (h *Host) primary(d *Datadir) *Host {
	for _, other := range h.w.Hosts {
		if other.machine.Address == d.Conn.host {
			return other
		}
	}
	return nil
}

func (h *Host) applyFrom(primary *Datadir, most int) {
	d := h.Running.Disk.Data
	for i, t := range primary.log {
		if t.seq <= seqOf(d.slavePos) {
			continue
		}
		d.apply(t)
		d.slavePos = gtidOf(t.server, t.seq)
		d.Conn.readFile, d.Conn.readOffset = primary.place(i + 1)
		if most--; most == 0 {
			return
		}
	}
}

// Connection is what SHOW ALL REPLICAS STATUS tells.
func (h *Host) Connection() []replication.Connection {
	d := h.Running.Disk.Data
	if d.Conn == nil {
		return nil
	}
	c := d.Conn
	conn := replication.Connection{PrimaryHost: c.host, PrimaryPort: c.port, User: c.user,
		UsingGTID: "Slave_Pos", TLS: true, TLSVerify: true,
		Certificate: c.certificate, ReceivedPos: cmp.Or(h.Received, d.slavePos),
		ReadFile: c.readFile, ReadOffset: c.readOffset,
		IORunning: yes(c.IO), SQLRunning: yes(c.SQL), SQLErrno: c.SQLErrno, SQLError: c.SQLError}
	p := h.primary(d)
	switch {
	case !c.IO:
	case p == nil || p.Running == nil:
		conn.IORunning, conn.IOErrno, conn.IOError = "Connecting", 2003, "Can't connect to server"
	case time.Since(c.began) < h.Far:
		conn.IORunning, conn.IOState = "Preparing", "Checking master version"
	case h.NotAccepted:
		conn.IORunning, conn.IOErrno, conn.IOError = "Connecting", 2026, "TLS/SSL error"
	case h.SeenAs != "" && !slices.Contains([]string{kit.AnyHost, h.SeenAs},
		p.Running.Disk.Data.ComeFrom[c.user]):
		conn.IORunning, conn.IOErrno = "Connecting", 1045
		conn.IOError = "Access denied for user '" + c.user + "'@'" + h.SeenAs + "'"
	case c.refused(h, p.Running.Disk.Data.Accounts[c.user]):
		conn.IORunning, conn.IOErrno, conn.IOError = "Connecting", 1045, "Access denied for user"
	case seqOf(d.slavePos) < p.Running.Disk.Data.Oldest:
		conn.IORunning, conn.IOErrno, conn.IOError = "No", 1236,
			"Could not find GTID state requested by slave in any binlog files"
	}
	return []replication.Connection{conn}
}

func yes(on bool) string {
	if on {
		return "Yes"
	}
	return "No"
}

// agentsView is one process's way to the agents.
type agentsView struct{ p *Process }

func (a agentsView) Agent(_ context.Context, server string) (kit.Agent, error) {
	w := a.p.W
	w.Mu.Lock()
	defer w.Mu.Unlock()
	h := w.Hosts[server]
	if a.p.Dead.Load() || h == nil || h.Down || h.machine.State != provider.MachineRunning ||
		!h.turn() {
		return nil, errs.New(errs.Unavailable, errorsv1.Reason_REASON_AGENT_UNREACHABLE,
			"the agent of "+server+" does not answer", errs.Meta("server", server))
	}
	return &agent{h: h, p: a.p}, nil
}

// agent is one process's connection to a host's agent.
type agent struct {
	h *Host
	p *Process
}

func (a *agent) look(ctx context.Context, name string, fn func() error) error {
	defer a.p.behind(name)
	a.h.w.Mu.Lock()
	defer a.h.w.Mu.Unlock()
	if err := a.p.before(ctx, name); err != nil {
		return err
	}
	if a.h.Down {
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_AGENT_UNREACHABLE,
			"the agent does not answer")
	}
	return fn()
}

// change makes a change on behalf of a job; fn says whether it did anything.
func (a *agent) change(ctx context.Context, name string, f kit.FencingToken,
	fn func() (bool, error)) error {
	return a.look(ctx, name, func() error {
		if f.Epoch < a.h.epochs[f.Job] {
			return errs.New(errs.Aborted, errorsv1.Reason_REASON_STALE_EPOCH,
				"a newer owner was seen")
		}
		a.h.epochs[f.Job] = f.Epoch
		changed, err := fn()
		if changed {
			a.h.w.effect(a.h.name, name)
		}
		return errors.Join(err, a.p.after(name))
	})
}

// up is the running MariaDB, or the error of one that does not answer.
func (a *agent) up() (*server, error) {
	if a.h.Running == nil || a.h.Hold.offline() {
		return nil, errs.New(errs.Unavailable, errorsv1.Reason_REASON_MARIADB_DOWN,
			"MariaDB does not answer")
	}
	return a.h.Running, nil
}

func (a *agent) Host(ctx context.Context) (info kit.HostInfo, err error) {
	err = a.look(ctx, "Host", func() error {
		info = kit.HostInfo{Server: a.h.name, OS: "Debian", SystemdVersion: "257",
			MariaDBVersion: a.h.Binary, AgentVersion: "test", BootID: a.h.BootID(),
			Databases: a.h.Databases,
			Digests:   a.h.Digests, RowHash: a.h.Digests}
		return nil
	})
	return info, err
}

func (a *agent) Marks(ctx context.Context) (marks replication.Marks, err error) {
	err = a.look(ctx, "Marks", func() error {
		marks = a.h.Marks
		return nil
	})
	return marks, err
}

func (a *agent) RenewCertificates(ctx context.Context,
	f kit.FencingToken) (changed bool, err error) {
	err = a.change(ctx, "RenewCertificates", f, func() (bool, error) {
		if changed = !slices.Contains(a.h.Renewals, f.EffectKey); changed {
			a.h.Renewals, a.h.NotAccepted = append(a.h.Renewals, f.EffectKey), false
		}
		return changed, nil
	})
	return changed, err
}

func (a *agent) Unit(ctx context.Context, name string) (u kit.Unit, err error) {
	err = a.look(ctx, "Unit", func() error {
		if name != kit.MariaDBUnit {
			return errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND, "no unit "+name)
		}
		u = kit.Unit{ActiveState: "inactive"}
		if a.h.Running != nil {
			u.ActiveState = "active"
		}
		return nil
	})
	return u, err
}

func (a *agent) EnsureUnit(ctx context.Context, req kit.UnitRequest,
	_ kit.Progress) (changes []string, err error) {
	err = a.change(ctx, "EnsureUnit", req.Token, func() (bool, error) {
		if a.h.Masked {
			a.h.Masked = false
			changes = append(changes, "unmasked")
		}
		if !a.h.Enabled {
			a.h.Enabled = true
			changes = append(changes, "enabled")
		}
		if a.h.Running == nil {
			if a.h.Unstarts > 0 {
				a.h.Unstarts--
				return true, errs.New(errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED,
					"mariadb.service failed: InnoDB: crash recovery was interrupted")
			}
			a.h.Start()
			changes = append(changes, "started")
		}
		return len(changes) > 0, nil
	})
	return changes, err
}

func (a *agent) StopUnit(ctx context.Context, req kit.UnitRequest) (changed bool, err error) {
	err = a.change(ctx, "StopUnit", req.Token, func() (bool, error) {
		changed = a.h.Running != nil
		a.h.Stop()
		return changed, nil
	})
	return changed, err
}

func (a *agent) MaskUnit(ctx context.Context, req kit.UnitRequest) (changed bool, err error) {
	err = a.change(ctx, "MaskUnit", req.Token, func() (bool, error) {
		if a.h.Running != nil {
			return false, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_WRONG_STATE,
				"it is active")
		}
		changed, a.h.Masked = !a.h.Masked, true
		return changed, nil
	})
	return changed, err
}
