package replication

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Observed is what an agent observed of its host at one moment.
type Observed struct {
	Status
	// At is when, on this process's monotonic clock.
	At time.Time
	// Hash is that of the facts, without what moves all the time.
	Hash   string
	Unit   Unit
	Volume VolumeState
	// Hung are the parts of the observation that did not return.
	Hung []Hung
	// PausedBy is the job that stopped replication on purpose, "jobs/{job}"; empty for none.
	PausedBy string
	// Starting is true while systemd starts the host, and MariaDB waits.
	Starting bool
	// Marks are what may have left changes out, also while nobody looked.
	Marks Marks
}

// Unit is the state of MariaDB's unit.
type Unit struct {
	Active, Sub, Result string // systemd's; Active is empty when systemd did not answer
	ExitStatus          int
	Errors              []string // that MariaDB logged in this run, while it does not answer
}

// VolumeState is the state of the filesystem and the device of the datadir.
type VolumeState struct {
	ReadOnly   bool
	Full       bool
	DeviceGone bool
	WriteError string // why it takes no writes, when ReadOnly does not say it
}

// Hung is a part of an observation that did not return, or failed for long.
type Hung struct {
	Probe  string // "mariadb", "replication", "volume", "unit", "facts", "call", "resume"
	Since  time.Time
	Reason string // why it failed; empty for one that did not return
}

// unit is the name of MariaDB's unit.
const unit = "mariadb.service"

// Expected says what of a server is on purpose.
type Expected struct {
	// Server is its name.
	Server string
	// Mount and FilesystemUUID are those of its data volume; empty when they are not known.
	Mount, FilesystemUUID string
	// Paused is true while the job that stopped its replication works on that.
	Paused bool
	// Reconnect sets the replica's connection up again, and starts it.
	Reconnect []errs.Action
	// Remount mounts the server's volume again, and starts MariaDB on it.
	Remount []errs.Action
	// Namesake is another replica that its primary knows by its server_id; empty for none.
	Namesake string
	// Now is what certificates are held to; zero holds them to nothing.
	Now time.Time
	// Replica is true for a replica.
	Replica bool
	// Lineage is why its primary is not what it follows any more; empty when it is.
	Lineage string
}

// Replica are the reasons why the host does not do what is wanted of a replica, the cause before
// what follows from it.
func (o Observed) Replica(w Want, x Expected) []Finding {
	return o.judge(x, w.Findings(o.Status))
}

// Primary are the reasons why the host does not do what is wanted of a primary.
func (o Observed) Primary(serverID uint32, x Expected) []Finding {
	return o.judge(x, PrimaryFindings(o.Status, serverID))
}

// Silent is the finding of a server whose agent does not answer.
func Silent(server, why string) Finding {
	f := Finding{Code: AgentSilent, Text: why}
	f.Hint = f.hint(server)
	return f
}

// StillReads is the finding of a replica whose agent was revoked, and that can read its primary
// still: account is its own there, and why says what keeps the control plane from dropping it.
func StillReads(primary, account string, revoked time.Time, why string) Finding {
	return Finding{Code: AccessOpen, Text: fmt.Sprintf("its agent was revoked at %s UTC, and its "+
		"MariaDB can read %s still: %s", revoked.UTC().Format(time.DateTime), primary, why),
		Hint: errs.Hint{Text: "have the agent of " + primary + " answer: the control plane then " +
			"drops the account " + account + " there; until then drop it by hand on " + primary +
			" and end its sessions (DROP USER, KILL USER)",
			Actions: []errs.Action{errs.Call("GetServer", "name", "servers/"+primary)}}}
}

// Differs is the finding of a replica whose data continuous verification found to be another.
func Differs(server, primary string, d Differences) Finding {
	return Finding{Code: DataDiffers, Text: fmt.Sprintf("it differs from its primary in %d tables "+
		"or objects: %s", len(d.Found), d.Found[0]), Errors: d.Found[1:min(len(d.Found), 10)],
		Hint: Helps(server, primary, d.Remedies, errs.Call("VerifyReplica", "name",
			"servers/"+server, "level", "VERIFY_LEVEL_FULL"))}
}

// Unproved is the finding of a replica that may lack changes since a time.
func Unproved(server, why string, since time.Time) Finding {
	f := Finding{Code: DataUnproved, Text: fmt.Sprintf("its data is not proved since %s UTC: %s",
		since.UTC().Format(time.DateTime), why)}
	f.Hint = f.hint(server)
	return f
}

// Still is the finding of a replica that is behind its primary, and has applied nothing since a
// time although both threads run.
func Still(server string, since time.Time, s Status) Finding {
	f := Finding{Code: ReplicationStill, Text: fmt.Sprintf("it is behind its primary and has "+
		"applied no transaction since %s UTC", since.UTC().Format(time.DateTime))}
	if conn, ok := Find(s.Connections, ""); ok {
		f.Text += fmt.Sprintf(": its SQL thread says %q", conn.SQLState)
	}
	if s.LockHolders != "" {
		f.Text += "; " + s.LockHolders
	}
	f.Hint = f.hint(server)
	return f
}

func (o Observed) judge(x Expected, role []Finding) []Finding {
	all := append(o.host(x), o.certificate(x)...)
	for _, f := range role {
		if o.onPurpose(f, x) {
			continue
		}
		all = append(all, o.explain(f, x.Server))
	}
	for i := range all {
		if all[i].Hint.Empty() {
			all[i].Hint = all[i].hint(x.Server)
		}
		switch all[i].Code {
		case ReplicationRefused:
			all[i].Hint.Actions = slices.Concat([]errs.Action{rotate(x.Server)}, x.Reconnect,
				all[i].Hint.Actions)
		case ReplicationSettings:
			all[i].Hint.Actions = append(slices.Clone(x.Reconnect), all[i].Hint.Actions...)
		case VolumeLost:
			all[i].Hint.Actions = slices.Clone(x.Remount)
		}
	}
	return all
}

// onPurpose reports whether a job does that to the server, and ends it.
func (o Observed) onPurpose(f Finding, x Expected) bool {
	switch f.Code {
	case ReplicationStopped:
		return o.Held || x.Paused
	case MariaDBDown:
		return o.stoppedForSnapshot()
	}
	return false
}

// stoppedForSnapshot is true while an offline snapshot has MariaDB stopped, in good order.
func (o Observed) stoppedForSnapshot() bool {
	stopping := o.Unit.Active == "inactive" || o.Unit.Active == "deactivating" ||
		o.Unit.Active == "activating"
	return o.Held && stopping && (o.Unit.Result == "success" || o.Unit.Result == "")
}

func (o Observed) host(x Expected) []Finding {
	var all findings
	v := o.Volume
	all.add(v.DeviceGone, VolumeLost, "the block device of its datadir is gone")
	all.add(v.ReadOnly, VolumeReadOnly, "the filesystem of its datadir is read-only")
	all.add(v.WriteError != "", VolumeLost, "the filesystem of its datadir takes no writes: %s",
		v.WriteError)
	all.add(v.Full, VolumeFull, "the filesystem of its datadir has no room left for MariaDB")
	if !o.Starting { // its volume may still come, and MariaDB waits for it
		o.elsewhere(&all, x)
	}
	all.add(x.Lineage != "", LineageBroken, "its primary is not what it follows any more: %s",
		x.Lineage)
	all.add(x.Namesake != "", ReplicationIDTaken,
		"its server_id is also that of %s: its primary lets one of them in at a time", x.Namesake)
	for _, h := range o.Hung {
		o.hung(&all, h)
	}
	return all
}

// lateRenewal is how long before the end of a certificate its renewal is overdue: agents renew it
// after half of its life, which is a week at least.
const lateRenewal = 3 * 24 * time.Hour

// certificate finds one of MariaDB's that its agent has not renewed in time. Connections that stand
// go on; the next one is refused.
func (o Observed) certificate(x Expected) []Finding {
	until := o.Certificate.Expires
	if until.IsZero() || x.Now.IsZero() || until.Sub(x.Now) >= lateRenewal {
		return nil
	}
	verb := "expires"
	if !until.After(x.Now) {
		verb = "expired"
	}
	f := Finding{Code: CertificateExpires, Text: fmt.Sprintf("the certificate of its MariaDB %s "+
		"at %s, and its agent did not renew it", verb, until.UTC().Format(time.RFC3339)),
		Hint: errs.Hint{Text: "see on " + x.Server + " with `journalctl -u understudy-agent` " +
			"why, and renew it there (understudy-agent renew)"}}
	if x.Replica {
		f.Hint = errs.Hint{Text: "renew it; where that fails, see on " + x.Server +
			" with `journalctl -u understudy-agent` why", Actions: []errs.Action{rotate(x.Server)}}
	}
	return []Finding{f}
}

// elsewhere finds a datadir that is not on its server's volume.
func (o Observed) elsewhere(all *findings, x Expected) {
	all.add(x.FilesystemUUID != "" && o.FilesystemUUID != "" &&
		o.FilesystemUUID != x.FilesystemUUID, VolumeLost,
		"its datadir is on filesystem %s, not on its volume's, %s", o.FilesystemUUID,
		x.FilesystemUUID)
	all.add(x.Mount != "" && o.FilesystemMount != "" && o.FilesystemMount != x.Mount, VolumeLost,
		"its datadir is on the filesystem at %s, not on its volume's, at %s", o.FilesystemMount,
		x.Mount)
}

func (o Observed) hung(all *findings, h Hung) {
	since := h.Since.UTC().Format(time.TimeOnly)
	why := cmp.Or(h.Reason, "it does not return")
	switch {
	case h.Probe == "mariadb":
		all.add(true, MariaDBDown, "MariaDB has not answered a query since %s UTC", since)
	case h.Probe == "replication":
		all.add(true, ReplicationHangs,
			"MariaDB has not told its replication threads since %s UTC", since)
	case h.Probe == "volume" && !o.Held: // frozen for a snapshot
		all.add(true, VolumeHangs,
			"a write to the filesystem of its datadir has not returned since %s UTC", since)
	case h.Probe == "facts":
		all.add(true, FactsOld, "MariaDB has not been observed in full since %s UTC: %s", since,
			why)
	case h.Probe == "call":
		all.add(true, CallHangs, "a call of its agent, over since %s UTC, has not ended: %s", since,
			why)
	case h.Probe == "resume":
		all.add(true, NotResumed,
			"MariaDB has not resumed after a quiesce that ended at %s UTC: %s", since, why)
	case h.Probe == "certificate":
		all.add(true, AgentCertificate, "the certificate of its agent ends soon, and was not "+
			"renewed at %s UTC: %s", h.Since.UTC().Format(time.DateTime), why)
	case h.Probe == "marks":
		all.add(true, MarksUnread, "its agent cannot note changes that are left out, since %s "+
			"UTC: %s", h.Since.UTC().Format(time.DateTime), why)
	case h.Probe == "unit":
		all.add(true, UnitUnknown, "systemd has not told the state of %s since %s UTC: %s", unit,
			since, why)
	}
}

// jobName is how a job is named: an agent may say anything, and a hint is pasted into a shell.
var jobName = regexp.MustCompile(`^jobs/[0-9A-Za-z-]{1,64}$`)

// explain adds what the host knows of the cause.
func (o Observed) explain(f Finding, server string) Finding {
	if f.Code == LossySettings && f.Text == RemovedLog(o.Status) {
		f.Hint = NextLog(server)
	}
	if f.Code == ReplicationStopped && jobName.MatchString(o.PausedBy) {
		f.Text += "; " + o.PausedBy + " stopped it"
		f.Hint = errs.Hint{Text: "see what the job does, and retry it once it has ended: it " +
			"starts replication again",
			Actions: []errs.Action{errs.Call("GetJob", "name", o.PausedBy),
				errs.Call("RetryJob", "name", o.PausedBy)}}
	}
	if f.Code != MariaDBDown {
		return f
	}
	f.Errors = o.Unit.Errors
	u := o.Unit
	switch {
	case u.Active == "failed":
		f.Text = fmt.Sprintf("%s failed: %s, status %d", unit, u.Result, u.ExitStatus)
	case u.Active == "inactive":
		f.Text = unit + " is stopped"
	case u.Active != "" && u.Active != "active":
		f.Text = fmt.Sprintf("%s is %s (%s)", unit, u.Active, u.Sub)
	}
	if o.Starting {
		f.Text += "; its host is starting"
	}
	return f
}

// rotate gets a replica a new certificate, and has it sign in with that.
func rotate(server string) errs.Action {
	return errs.Call("RotateReplicaCredentials", "name", "servers/"+server)
}

// hint is what helps against a finding of a server.
func (f Finding) hint(server string) errs.Hint {
	rebuild := []errs.Action{errs.Call("RebuildReplica", "name", "servers/"+server)}
	switch f.Code {
	case MariaDBDown:
		return errs.Hint{Text: "correct what its errors say, then start " + unit + " on " + server}
	case VolumeReadOnly:
		return errs.Hint{Text: "find out with `dmesg` on " + server + " why it is read-only; " +
			"after an error, check its filesystem while it is not mounted"}
	case VolumeFull:
		return errs.Hint{Text: "make its volume larger, or delete data", Actions: []errs.Action{
			errs.Call("GrowServer", "name", "servers/"+server)}}
	case VolumeHangs:
		return errs.Hint{Text: "thaw the filesystem if it is frozen, or see with `dmesg` on " +
			server + " what its device does"}
	case VolumeLost:
		return errs.Hint{Text: "attach its volume again, mount it, and start " + unit + " on " +
			server}
	case ReplicationHangs:
		return errs.Hint{Text: "see on " + server + " with `SHOW PROCESSLIST` what " +
			"`STOP REPLICA` waits for"}
	case ReplicationStill:
		return errs.Hint{Text: "see on " + server + " with `SHOW FULL PROCESSLIST` whether its " +
			"SQL thread still works on one long transaction or ALTER, which ends by itself, or " +
			"waits for a lock; then end the session that holds it with `KILL` and its number. " +
			"The text names it for certain where the plugin metadata_lock_info is active"}
	case FactsOld:
		return errs.Hint{Text: "correct on " + server + " what the text says; until then its " +
			"settings, and what else a sample leaves out, are old"}
	case CallHangs:
		return errs.Hint{Text: "see on " + server + " with `journalctl -u understudy-agent` what " +
			"the call was about, and with `dmesg` what its disks do"}
	case AgentCertificate:
		return errs.Hint{Text: "see on " + server + " with `understudy-agent renew` whether it " +
			"is kept from it still; once it has ended, the agent cannot be called until it renews"}
	case MarksUnread:
		return errs.Hint{Text: "have MariaDB on " + server + " log to the journal, with " +
			"log_warnings 1 or more; then `STOP REPLICA; START REPLICA`, and verify all data " +
			"(--level full), for what was left out before"}
	case NotResumed:
		return errs.Hint{Text: "correct on " + server + " what the text says: its agent then " +
			"resumes MariaDB by itself. By hand: thaw the filesystem of its datadir, then `rm -f " +
			"/run/understudy-mariadb-held; systemctl start " + unit + "`"}
	case UnitUnknown:
		return errs.Hint{Text: "see on " + server + " with `systemctl status " + unit + "` " +
			"whether systemd answers"}
	case ReplicationStopped:
		return errs.Hint{Text: "start its replication again with `START REPLICA` on " + server}
	case LineageBroken:
		return OtherHistory(server)
	case ReplicationBroken, BinlogsPurged, ErrantTransactions:
		return errs.Hint{Text: "rebuild the replica from a fresh copy", Actions: rebuild}
	case DataUnproved:
		return errs.Hint{Text: "compare all its data, or rebuild it; it is READY by itself once " +
			"continuous verification has found all of it equal",
			Actions: append([]errs.Action{errs.Call("VerifyReplica", "name", "servers/"+server,
				"level", "VERIFY_LEVEL_FULL")}, rebuild...)}
	case ReplicationConnecting:
		return errs.Hint{Text: "see that MariaDB on its primary runs and can be reached from " +
			server}
	case ReplicationIDTaken:
		return errs.Hint{Text: "find the other server with `SHOW SLAVE HOSTS` on the primary, " +
			"and give it a server_id of its own"}
	case ReplicationRefused:
		return errs.Hint{Text: "rotate its credentials, which renews its certificate; after a " +
			"TLS error renew its primary's too, with `understudy-agent renew` there; rebuild the " +
			"replica where nothing else helps", Actions: rebuild}
	case ReplicationSettings:
		return errs.Hint{Text: "set its connection up again, with new credentials, and start it; " +
			"rebuild the replica where the job that made it is gone", Actions: rebuild}
	case WrongClock:
		return errs.Hint{Text: "set the clock of " + server + " with NTP"}
	case LossySettings:
		return errs.Hint{Text: "take the setting or connection away on " + server + ", then " +
			"verify all its data", Actions: []errs.Action{errs.Call("VerifyReplica", "name",
			"servers/"+server, "level", "VERIFY_LEVEL_FULL")}}
	case Settings:
		return errs.Hint{Text: "take the setting out of whatever sets it on " + server +
			", then restart " + unit}
	case AgentSilent:
		return errs.Hint{Text: "see on " + server + " with `systemctl status understudy-agent`, " +
			"and that port 7443 can be reached from the control plane"}
	}
	return errs.Hint{}
}
