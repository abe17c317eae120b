package workflowtest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// The binary log of the simulated world: each start begins another file, and each transaction takes
// logBytes of it.
const (
	logBytes = 100
	logBegin = 4
)

// place is the end of the log after n transactions.
func (d *Datadir) place(n int) (file string, offset int64) {
	at := 0
	for i, begin := range d.begins {
		if begin <= n {
			at = i
		}
	}
	return fmt.Sprintf("mariadb-bin.%06d", at+1), logBegin + int64(n-d.begins[at])*logBytes
}

// upTo is how many transactions there are before a place, and at the end of its file; false when
// the log does not have the place.
func (d *Datadir) upTo(file string, offset int64) (n, end int, there bool) {
	var at int
	_, err := fmt.Sscanf(file, "mariadb-bin.%06d", &at)
	if err != nil || at < 1 || at > len(d.begins) {
		return 0, 0, false
	}
	if end = len(d.log); at < len(d.begins) {
		end = d.begins[at]
	}
	n = d.begins[at-1] + int((offset-logBegin)/logBytes)
	return n, end, n <= end
}

func (d *Datadir) digest(n int) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, d.log[:n])))
}

// history is what the agent tells of the history of the binary log.
func (h *Host) history(st *replication.Status) {
	if h.Unknown {
		return
	}
	d := h.Running.Disk.Data
	file, offset := d.place(len(d.log))
	st.BinlogHistory, st.HistoryReason = h.id(), h.Reason
	st.HistoryClaim = replication.Claim{ID: h.id(), File: file, Offset: offset, GTID: d.Pos(),
		Digest: d.digest(len(d.log))}
}

func (h *Host) id() string { return cmp.Or(h.History, "the first of "+h.name) }

// ConfirmHistory has the server's agent compare what is known of its history with its binary log.
func (a Agents) ConfirmHistory(ctx context.Context, server, _ string,
	known replication.Known) (id string, err error) {
	found, err := a.Agent(ctx, server)
	if err != nil {
		return "", err
	}
	h := found.(*agent).h
	err = found.(*agent).look(ctx, "ConfirmHistory", func() error {
		if h.Running == nil {
			return nil
		}
		h.Told = known
		if h.Unknown || h.id() == known.Claim.ID {
			h.confirm(known)
		}
		id = h.id()
		return nil
	})
	return id, err
}

func (h *Host) confirm(known replication.Known) {
	switch why := h.Running.Disk.Data.lacks(known); {
	case why != "":
		h.histories++
		h.History, h.Reason = fmt.Sprintf("number %d of %s", h.histories, h.name), why
	case h.Unknown:
		h.History, h.Reason = known.Claim.ID, ""
	}
	h.Unknown = false
}

// lacks is what the binary log does not have of what is known.
func (d *Datadir) lacks(known replication.Known) string {
	n, _, there := d.upTo(known.Claim.File, known.Claim.Offset)
	if !there || d.digest(n) != known.Claim.Digest || seqOf(known.Seen) > d.seq {
		return "it lacks what the control plane knows"
	}
	for _, r := range known.Reads {
		if _, end, there := d.upTo(r.File, r.Offset); !there ||
			end == 0 && seqOf(r.GTID) > 0 || end > 0 && seqOf(r.GTID) > d.log[end-1].seq {
			return r.Replica + " has read more of " + r.File
		}
	}
	return ""
}

// LoseState deletes what the agent keeps of its binary log.
func (h *Host) LoseState() { h.Unknown, h.History, h.Reason = true, "", "" }

// ResetLog is RESET MASTER.
func (d *Datadir) ResetLog() {
	d.log, d.begins, d.seq, d.last, d.Oldest = nil, []int{0}, 0, 0, 0
}

// LoseTail takes the last transactions of the binary log, as a crash of the host does.
func (d *Datadir) LoseTail(n int) {
	d.log = d.log[:len(d.log)-n]
	d.seq = d.log[len(d.log)-1].seq
}
