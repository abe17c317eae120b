package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	dataMount   = "/srv/mariadb"
	datadirPath = "/var/lib/mysql"
	mariadb     = "mariadb.service"
)

// host is a machine's system: mounts, units, MariaDB.
type host struct {
	w       *world
	name    string
	machine *provider.Machine
	down    bool // the agent does not answer

	mounts   map[string]*mountPoint
	masked   bool
	enabled  bool
	running  *server // MariaDB that runs; nil when it is stopped
	starts   int     // of MariaDB
	startsOn map[string]int
	file     *kit.Configuration // our option file
	root     *disk              // the root disk, with the image's own datadir
	binary   string
	epochs   map[string]int64
	hidden   int // looks at the block devices until a new one appears
	unstarts int // starts of MariaDB that fail
	hold     *simHold
	readers  []replication.Connected // strangers that replicate from it
	// transactions that a replica applies between two looks; 0 is all
	rate int
}

// mountPoint is what is mounted at a path, and what its unit file says.
type mountPoint struct {
	volume  string
	root    string
	mounted bool
}

// server is a running MariaDB.
type server struct {
	conf     kit.Configuration
	disk     *disk
	readOnly bool
}

func newHost(w *world, m *provider.Machine) *host {
	binary := "11.8.6"
	if m.Image == "bookworm" {
		binary = "10.11.14"
	}
	h := &host{w: w, name: m.Name, machine: m, mounts: map[string]*mountPoint{}, masked: true,
		binary: binary, epochs: map[string]int64{},
		startsOn: map[string]int{}}
	h.root = &disk{fs: "overlay", uuid: "root", data: newDatadir(binary)}
	return h
}

func (h *host) mountRaw(path, volume, root string) {
	h.mounts[path] = &mountPoint{volume: volume, root: root, mounted: true}
}

// datadirDisk is the disk that MariaDB finds at its datadir.
func (h *host) datadirDisk() *disk {
	if m := h.mounts[datadirPath]; m != nil && m.mounted {
		return h.w.cloud.disks[m.volume]
	}
	return h.root
}

// start starts MariaDB with the options that it finds.
func (h *host) start() {
	conf := kit.Configuration{ServerID: 1, LogBin: "mariadb-bin", Port: 3306}
	if h.file != nil {
		conf = *h.file
	}
	d := h.datadirDisk()
	h.running = &server{conf: conf, disk: d, readOnly: conf.ReadOnly}
	h.starts++
	h.startsOn[d.uuid]++
	if c := d.data.conn; c != nil {
		c.io, c.sql = !conf.SkipReplicaStart, !conf.SkipReplicaStart
	}
}

func (h *host) stop() { h.running = nil }

// replicate lets the replica apply what it can from its primary.
func (h *host) replicate() {
	if h.running == nil {
		return
	}
	d := h.running.disk.data
	if d.conn == nil || !d.conn.io || !d.conn.sql {
		return
	}
	p := h.primary(d)
	if p == nil || p.running == nil {
		return
	}
	h.applyFrom(p.running.disk.data, h.rate)
}

func (h *host) primary(d *datadir) *host {
	for _, other := range h.w.hosts {
		if other.machine.Address == d.conn.host {
			return other
		}
	}
	return nil
}

func (h *host) applyFrom(primary *datadir, most int) {
	d := h.running.disk.data
	for _, t := range primary.log {
		if t.seq <= seqOf(d.slavePos) {
			continue
		}
		d.apply(t)
		d.slavePos = gtidOf(t.server, t.seq)
		if most--; most == 0 {
			return
		}
	}
}

// connection is what SHOW ALL REPLICAS STATUS tells.
func (h *host) connection() []replication.Connection {
	d := h.running.disk.data
	if d.conn == nil {
		return nil
	}
	c := d.conn
	conn := replication.Connection{PrimaryHost: c.host, PrimaryPort: c.port, User: c.user,
		UsingGTID: "Slave_Pos", TLS: true, TLSVerify: true,
		IORunning: yes(c.io), SQLRunning: yes(c.sql), SQLErrno: c.sqlErrno, SQLError: c.sqlError}
	p := h.primary(d)
	switch {
	case !c.io:
	case p == nil || p.running == nil:
		conn.IORunning, conn.IOErrno, conn.IOError = "Connecting", 2003, "Can't connect to server"
	case p.running.disk.data.accounts[c.user] != c.password:
		conn.IORunning, conn.IOErrno, conn.IOError = "Connecting", 1045, "Access denied for user"
	case seqOf(d.slavePos) < p.running.disk.data.oldest:
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
type agentsView struct{ p *process }

func (a agentsView) Agent(_ context.Context, server string) (kit.Agent, error) {
	w := a.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[server]
	if a.p.dead.Load() || h == nil || h.down || h.machine.State != provider.MachineRunning {
		return nil, errs.New(errs.Unavailable, errorsv1.Reason_REASON_AGENT_UNREACHABLE,
			"the agent of "+server+" does not answer", errs.Meta("server", server))
	}
	return &agent{h: h, p: a.p}, nil
}

// agent is one process's connection to a host's agent.
type agent struct {
	h *host
	p *process
}

func (a *agent) look(name string, fn func() error) error {
	a.h.w.mu.Lock()
	defer a.h.w.mu.Unlock()
	if err := a.p.before(name); err != nil {
		return err
	}
	if a.h.down {
		return errs.New(errs.Unavailable, errorsv1.Reason_REASON_AGENT_UNREACHABLE,
			"the agent does not answer")
	}
	return fn()
}

// change makes a change on behalf of a job; fn says whether it did anything.
func (a *agent) change(name string, f kit.Fence, fn func() (bool, error)) error {
	return a.look(name, func() error {
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
	if a.h.running == nil {
		return nil, errs.New(errs.Unavailable, errorsv1.Reason_REASON_MARIADB_DOWN,
			"MariaDB does not answer")
	}
	return a.h.running, nil
}

func (a *agent) Host(context.Context) (info kit.HostInfo, err error) {
	err = a.look("Host", func() error {
		info = kit.HostInfo{Server: a.h.name, OS: "Debian", SystemdVersion: "257",
			MariaDBVersion: a.h.binary, AgentVersion: "test"}
		return nil
	})
	return info, err
}

func (a *agent) Unit(_ context.Context, name string) (u kit.Unit, err error) {
	err = a.look("Unit", func() error {
		if name != mariadb {
			return errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND, "no unit "+name)
		}
		u = kit.Unit{Name: name, ActiveState: "inactive", UnitFileState: "disabled"}
		if a.h.running != nil {
			u.ActiveState = "active"
		}
		if a.h.masked {
			u.UnitFileState = "masked"
		}
		return nil
	})
	return u, err
}

func (a *agent) EnsureUnit(_ context.Context, req kit.EnsureUnit,
	_ kit.Progress) (up kit.EnsuredUnit, err error) {
	err = a.change("EnsureUnit", req.Fence, func() (bool, error) {
		if a.h.masked {
			a.h.masked = false
			up.Changes = append(up.Changes, "unmasked")
		}
		if !a.h.enabled {
			a.h.enabled = true
			up.Changes = append(up.Changes, "enabled")
		}
		if a.h.running == nil {
			if a.h.unstarts > 0 {
				a.h.unstarts--
				return true, errs.New(errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED,
					"mariadb.service failed: InnoDB: crash recovery was interrupted")
			}
			a.h.start()
			up.Changes = append(up.Changes, "started")
		}
		up.Unit = kit.Unit{Name: req.Unit, ActiveState: "active"}
		return len(up.Changes) > 0, nil
	})
	return up, err
}

func (a *agent) StopUnit(_ context.Context, req kit.UnitRequest) (changed bool, err error) {
	err = a.change("StopUnit", req.Fence, func() (bool, error) {
		changed = a.h.running != nil
		a.h.stop()
		return changed, nil
	})
	return changed, err
}

func (a *agent) MaskUnit(_ context.Context, req kit.UnitRequest) (changed bool, err error) {
	err = a.change("MaskUnit", req.Fence, func() (bool, error) {
		if a.h.running != nil {
			return false, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_WRONG_STATE,
				"it is active")
		}
		changed, a.h.masked = !a.h.masked, true
		return changed, nil
	})
	return changed, err
}

// attached are the volumes whose devices the host has.
func (h *host) attached() []*provider.Volume {
	var all []*provider.Volume
	for _, v := range h.w.cloud.volumes {
		if v.MachineID == h.machine.ID && v.Attachment != provider.AttachmentAttaching {
			all = append(all, v)
		}
	}
	return all
}

func (h *host) device(ids []string) string {
	for _, v := range h.attached() {
		if slices.Contains(ids, "virtio-"+v.ID) {
			return v.ID
		}
	}
	return ""
}

func (a *agent) BlockDevices(context.Context) (list []kit.BlockDevice, err error) {
	err = a.look("BlockDevices", func() error {
		for _, v := range a.h.attached() {
			if !v.Default && a.h.hidden > 0 {
				a.h.hidden--
				continue
			}
			d := a.h.w.cloud.disks[v.ID]
			list = append(list, kit.BlockDevice{Path: "/dev/" + v.ID,
				IDs: []string{"virtio-" + v.ID}, SizeBytes: v.SizeBytes,
				Filesystem: d.fs, UUID: d.uuid, Blank: d.fs == "", MountPoints: a.h.pathsOf(v.ID)})
		}
		return nil
	})
	return list, err
}

func (h *host) pathsOf(volume string) (paths []string) {
	for path, m := range h.mounts {
		if m.volume == volume && m.mounted {
			paths = append(paths, path)
		}
	}
	return paths
}

func (h *host) mountOf(path string) (m kit.Mount) {
	at := h.mounts[path]
	m = kit.Mount{Path: path, Mounted: at.mounted, UnitSource: "/dev/disk/by-id/virtio-" +
		at.volume, Root: at.root}
	_, m.UnitSourceExists = h.w.cloud.volumes[at.volume]
	if d := h.w.cloud.disks[at.volume]; at.mounted && d != nil {
		m.DeviceIDs, m.UUID, m.Filesystem, m.Nonce = []string{"virtio-" + at.volume}, d.uuid, d.fs,
			d.nonce
	}
	return m
}

func (a *agent) Mount(_ context.Context, path string) (m kit.Mount, err error) {
	err = a.look("Mount", func() error {
		if a.h.mounts[path] == nil {
			return errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_MOUNTED,
				"nothing is mounted at "+path)
		}
		m = a.h.mountOf(path)
		return nil
	})
	return m, err
}

func deny(reason errorsv1.Reason, format string, args ...any) error {
	return errs.New(errs.FailedPrecondition, reason, fmt.Sprintf(format, args...),
		errs.WithHint("a hint"))
}

func (a *agent) EnsureMount(_ context.Context, req kit.EnsureMount,
	_ kit.Progress) (out kit.Mounted, err error) {
	err = a.change("EnsureMount", req.Fence, func() (bool, error) {
		volume := a.h.device(req.DeviceIDs)
		if volume == "" {
			return false, deny(errorsv1.Reason_REASON_DEVICE_MISSING, "no device %s",
				strings.Join(req.DeviceIDs, ","))
		}
		d := a.h.w.cloud.disks[volume]
		if err := fits(d, req); err != nil {
			return false, err
		}
		now := a.h.mounts[req.Path]
		if now != nil && now.mounted && now.volume != volume {
			replace := slices.Contains(req.ReplaceDeviceIDs, "virtio-"+now.volume)
			if _, there := a.h.w.cloud.volumes[now.volume]; there && !replace {
				return false, deny(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE, "%s is mounted there",
					now.volume)
			}
			a.h.stop()
		}
		if d.uuid != req.FilesystemUUID {
			d.uuid = req.FilesystemUUID
			out.Changes = append(out.Changes, "new UUID")
		}
		if now == nil || !now.mounted || now.volume != volume {
			a.h.mountRaw(req.Path, volume, "/")
			out.Changes = append(out.Changes, "mounted")
		}
		out.Mount = a.h.mountOf(req.Path)
		return len(out.Changes) > 0, nil
	})
	return out, err
}

func fits(d *disk, req kit.EnsureMount) error {
	switch {
	case d.fs == "":
		return deny(errorsv1.Reason_REASON_FILESYSTEM_MISSING,
			"no filesystem; it is not formatted here")
	case d.broken:
		return deny(errorsv1.Reason_REASON_FILESYSTEM_BROKEN, "fsck cannot correct it")
	case req.SourceFilesystemUUID != "" && d.uuid != req.SourceFilesystemUUID &&
		d.uuid != req.FilesystemUUID:
		return deny(errorsv1.Reason_REASON_DEVICE_WRONG, "its filesystem is %s", d.uuid)
	case req.ExpectedNonce != "" && d.nonce != req.ExpectedNonce:
		return deny(errorsv1.Reason_REASON_NONCE_MISMATCH, "nonce %q instead of %q", d.nonce,
			req.ExpectedNonce)
	}
	return nil
}

func (a *agent) EnsureBindMount(_ context.Context,
	req kit.EnsureBindMount) (out kit.Mounted, err error) {
	err = a.change("EnsureBindMount", req.Fence, func() (bool, error) {
		from := a.h.mounts[dataMount]
		if from == nil || !from.mounted {
			return false, deny(errorsv1.Reason_REASON_NOT_MOUNTED, "nothing at %s", dataMount)
		}
		now := a.h.mounts[req.Path]
		if now == nil || !now.mounted || now.volume != from.volume {
			a.h.stop()
			a.h.mountRaw(req.Path, from.volume, "/mysql")
			out.Changes = append(out.Changes, "bound")
		}
		out.Mount = a.h.mountOf(req.Path)
		return len(out.Changes) > 0, nil
	})
	return out, err
}

func (a *agent) EnsureUnmounted(_ context.Context,
	req kit.EnsureUnmounted) (changes []string, err error) {
	err = a.change("EnsureUnmounted", req.Fence, func() (bool, error) {
		at := a.h.mounts[req.Path]
		if at == nil {
			return false, nil
		}
		if at.mounted && len(req.ExpectedDeviceIDs) > 0 && !slices.Contains(req.ExpectedDeviceIDs,
			"virtio-"+at.volume) {
			return false, deny(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE, "%s is mounted there",
				at.volume)
		}
		if a.h.running != nil {
			return false, deny(errorsv1.Reason_REASON_MOUNT_BUSY, "mariadbd holds it")
		}
		delete(a.h.mounts, req.Path)
		changes = []string{"unmounted"}
		return true, nil
	})
	return changes, err
}

func (a *agent) FormatVolume(_ context.Context,
	req kit.FormatVolume) (device kit.BlockDevice, changed bool, err error) {
	err = a.change("FormatVolume", req.Fence, func() (bool, error) {
		volume := a.h.device(req.DeviceIDs)
		if volume == "" {
			return false, deny(errorsv1.Reason_REASON_DEVICE_MISSING, "no device")
		}
		d := a.h.w.cloud.disks[volume]
		if d.fs != "" && d.uuid != req.FilesystemUUID || !req.RecordedBlank {
			return false, deny(errorsv1.Reason_REASON_DEVICE_NOT_BLANK, "it holds %s", d.fs)
		}
		changed = d.fs == ""
		d.fs, d.uuid = req.Filesystem, req.FilesystemUUID
		device = kit.BlockDevice{Path: "/dev/" + volume, Filesystem: d.fs}
		return changed, nil
	})
	return device, changed, err
}
