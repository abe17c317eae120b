package mariadb

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// HistoryClaim proves a history of the binary log to who lost it: a place, the position there, and
// the digest of the events before it.
type HistoryClaim struct {
	ID, File     string
	Offset       int64
	Gtid, Digest string
}

// ReadPlace is how far a replica has read a binary log of this server.
type ReadPlace struct {
	Replica, File string
	Offset        int64
	Gtid          string
	// SeenAgo is how long ago it was first seen to read that log; 0 when that is not known.
	SeenAgo time.Duration
}

// KnownHistory is what the control plane knows of the history of the binary log: its last claim,
// the position that was reported last, and what replicas have read.
type KnownHistory struct {
	Claim HistoryClaim
	Seen  string
	Reads []ReadPlace
}

func (h history) claim() HistoryClaim {
	return HistoryClaim{ID: h.ID, File: h.File, Offset: h.Offset, Gtid: h.Gtid, Digest: h.Digest}
}

// ConfirmHistory compares what is known elsewhere of the history of the binary log with the log of
// the running server, and answers with the history that it has and why it is another one than
// before. Without a history of its own the agent takes up the one that is known, where the log
// holds it.
func (h *Host) ConfirmHistory(ctx context.Context, known KnownHistory) (id, reason string,
	err error) {
	const what = "cannot confirm the history of the binary log"
	if err := h.Server.require(ctx, what); err != nil {
		return "", "", err
	}
	if h.quiesced() {
		return "", "", errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY,
			what+": MariaDB is quiesced", errs.WithHint("retry when the snapshot is taken"))
	}
	log, err := readLog(ctx, h.Server.db)
	if err != nil {
		return "", "", failure(what, err)
	}
	had, err := h.history.confirm(log, known)
	if err != nil {
		return "", "", failure(what, err)
	}
	now := h.history.known()
	if now.ID == "" || now.ID != had || !log.endsIn(now.File) {
		if _, err := h.Status(ctx); err != nil { // looks again, so that it shows at once
			return "", "", err
		}
		now = h.history.known()
	}
	return now.ID, now.Reason, nil
}

// confirm compares what is known elsewhere with the log, and answers with the history that there
// was. What is known of another one says nothing of this one.
func (h *histories) confirm(log readableLog, known KnownHistory) (had string, err error) {
	has, err := h.current()
	if err != nil || has.ID != "" && has.ID != known.Claim.ID {
		return has.ID, err
	}
	lacks, err := log.lacks(known, has.ID == "")
	if err != nil {
		return "", err
	}
	return has.ID, h.settle(has.ID, known.Claim, lacks)
}

// current is the history that this agent has; without an id when it has none.
func (h *histories) current() (history, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(); err != nil {
		return history{}, err
	}
	return h.last, nil
}

// mayBegin lets the first history begin.
func (h *histories) mayBegin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begins = true
}

// settle takes the claim up where there is no history, or lets another one begin: because of what
// the log lacks. It does nothing when the history is not what it was when that was looked at.
func (h *histories) settle(was string, claim HistoryClaim, lacks string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last.ID != was {
		return nil
	}
	switch {
	case lacks != "":
		h.last, h.next, h.begins, h.why = history{}, history{}, true, lacks
	case was == "":
		h.last = history{ID: claim.ID, Digest: claim.Digest,
			logPlace: logPlace{claim.File, claim.Offset, claim.Gtid}}
		if err := h.save(); err != nil {
			h.last = history{}
			return err
		}
		h.log.Info("the binary log has the history that the control plane knows", "at", claim.File,
			"offset", claim.Offset)
	}
	return nil
}

// readableLog is the binary log at one moment.
type readableLog struct {
	dir  string
	logs []Binlog // oldest first
	end  gtid.Position
	// at is the position at an offset of a log, begun the time at which a log was begun.
	at    func(file string, offset int64) (gtid.Position, error)
	begun func(file string) (time.Time, error)
}

func readLog(ctx context.Context, q querier) (readableLog, error) {
	log := readableLog{at: func(file string, offset int64) (gtid.Position, error) {
		r, err := one(ctx, q, fmt.Sprintf("SELECT BINLOG_GTID_POS(%s, %d) AS pos", literal(file),
			offset))
		if err != nil {
			return gtid.Position{}, err
		}
		return positionIn(r, file, offset)
	}}
	listed, err := binlogNames(ctx, q)
	if err != nil {
		return readableLog{}, err
	}
	log.logs = present(listed)
	v, err := variables(ctx, q, "log_bin_basename", "gtid_binlog_pos")
	if err != nil {
		return readableLog{}, err
	}
	log.dir = filepath.Dir(v["log_bin_basename"])
	log.begun = func(file string) (time.Time, error) { return begunAt(log.dir, file) }
	log.end, err = gtid.ParsePosition(v["gtid_binlog_pos"])
	return log, err
}

// positionIn is the position that MariaDB answered: NULL for a log that was purged meanwhile, or
// that it cannot read, which says nothing of what is in it.
func positionIn(r row, file string, offset int64) (gtid.Position, error) {
	pos, read := r["pos"]
	if !read {
		return gtid.Position{}, fmt.Errorf("MariaDB cannot tell the position in %s at offset %d",
			file, offset)
	}
	return gtid.ParsePosition(pos)
}

const beginsAt = 4 // bytes: the magic

// endsIn is true for the log that is written to.
func (l readableLog) endsIn(file string) bool {
	return len(l.logs) > 0 && l.logs[len(l.logs)-1].File == file
}

// lacks is what the log does not have of what is known; empty when it has all. All of the claim is
// proved for an agent without a history.
func (l readableLog) lacks(known KnownHistory, all bool) (string, error) {
	lacks, err := l.lacksClaim(known.Claim, all)
	if err != nil || lacks != "" {
		return lacks, err
	}
	if all {
		if lacks, err := l.lacksSeen(known.Seen); err != nil || lacks != "" {
			return lacks, err
		}
	}
	for _, read := range known.Reads {
		if lacks, err := l.lacksRead(read); err != nil || lacks != "" {
			return lacks, err
		}
		if !laterLog(read.File, known.Claim.File) {
			continue // it is before events that are proved
		}
		if lacks, err := l.begunLater(read, time.Now()); err != nil || lacks != "" {
			return lacks, err
		}
	}
	return "", nil
}

// lacksClaim proves the claim: all of it, or what a look at the log proves as well.
func (l readableLog) lacksClaim(c HistoryClaim, all bool) (string, error) {
	if c.ID == "" {
		return "no history of it is on record", nil
	}
	had, err := gtid.ParsePosition(c.Gtid)
	if err != nil {
		return "", err
	}
	list := logList{}
	for _, log := range l.logs {
		list.files = append(list.files, log.File)
	}
	listed := slices.Contains(list.files, c.File)
	if all && !listed {
		return "the binary log has no " + c.File + " any more", nil
	}
	if !listed && len(l.logs) > 0 {
		begin, err := l.at(list.files[0], beginsAt)
		if err != nil {
			return "", err
		}
		list.begin = begin.String()
	}
	place := history{Digest: c.Digest, logPlace: logPlace{c.File, c.Offset, c.Gtid}}
	lacks, err := place.lacks(l.dir, list)
	if err != nil || lacks != "" || !all || c.Offset > math.MaxUint32 { // BINLOG_GTID_POS's most
		return lacks, err
	}
	there, err := l.at(c.File, c.Offset)
	if err == nil && !there.Contains(had) {
		lacks = fmt.Sprintf("%s is at %s at offset %d, it was at %s", c.File, shownPosition(there),
			c.Offset, c.Gtid)
	}
	return lacks, err
}

// lacksSeen compares the position that was reported last.
func (l readableLog) lacksSeen(seen string) (string, error) {
	position, err := gtid.ParsePosition(seen)
	if err != nil || l.end.Contains(position) {
		return "", err
	}
	return fmt.Sprintf("the binary log is at %s, it was at %s", shownPosition(l.end), seen), nil
}

// lacksRead proves that a replica has read what is still there. A log does not grow any more once
// there is a later one, so that its end tells of a lost tail whatever was written since.
func (l readableLog) lacksRead(r ReadPlace) (string, error) {
	had, err := gtid.ParsePosition(r.Gtid)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(l.logs, func(b Binlog) bool { return b.File == r.File })
	switch {
	case at < 0 && !l.purged(r.File):
		return fmt.Sprintf("%s has read %s, which the binary log does not have", r.Replica, r.File),
			nil
	case at >= 0 && l.logs[at].SizeBytes < r.Offset:
		return fmt.Sprintf("%s has read %s up to offset %d, it ends at %d", r.Replica, r.File,
			r.Offset, l.logs[at].SizeBytes), nil
	}
	end, err := l.endOf(at, len(had.GTIDs()) == 1 && len(l.end.GTIDs()) == 1)
	if err == nil && !end.Contains(had) {
		return fmt.Sprintf("%s has read up to %s in %s, which ends at %s", r.Replica, r.Gtid,
			r.File, shownPosition(end)), nil
	}
	return "", err
}

// begunLater tells a log from one of the same name that the replica has read: an older datadir has
// it begun again, under the same name. The host's clock counts for both, and what it may have
// drifted. A log of the future tells nothing: the clock was set back since.
func (l readableLog) begunLater(r ReadPlace, now time.Time) (string, error) {
	if r.SeenAgo <= 0 || l.purged(r.File) {
		return "", nil
	}
	begun, err := l.begun(r.File)
	seen := now.Add(time.Second + r.SeenAgo/1000 - r.SeenAgo)
	if err != nil || begun.After(now) || !begun.After(seen) {
		return "", err
	}
	return fmt.Sprintf("%s has read a %s of before, which was begun again at %s UTC", r.Replica,
		r.File, begun.UTC().Format(time.DateTime)), nil
}

// purged is true for a log before the first one.
func (l readableLog) purged(file string) bool {
	base := func(file string) string { return strings.TrimSuffix(file, filepath.Ext(file)) }
	return len(l.logs) > 0 && base(l.logs[0].File) == base(file) &&
		laterLog(l.logs[0].File, file)
}

// endOf is the position at the end of a log; -1 is the one before the first. It is that of the
// whole log where a replica may have read ahead in one domain, and gone back to this log for
// another one, be it one that it ignores.
func (l readableLog) endOf(at int, exact bool) (gtid.Position, error) {
	if !exact || at == len(l.logs)-1 {
		return l.end, nil
	}
	return l.at(l.logs[at+1].File, beginsAt)
}

func shownPosition(p gtid.Position) string {
	if p.IsEmpty() {
		return "no transaction"
	}
	return p.String()
}
