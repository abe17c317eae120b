package mariadb

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/gtid"
)

// histories tell one history of the binary log from another one: RESET MASTER, a datadir that was
// put back, a tail that a crash took. A GTID does not tell: the numbers come again. It remembers a
// place in the binary log and the bytes before it, follows the log from look to look, and gives the
// history another id where the remembered bytes are not there any more. Without a place of its own
// it gives none until it was told what the control plane knows: docs/lossless.md.
type histories struct {
	file string
	log  *slog.Logger

	mu     sync.Mutex
	loaded bool
	saved  time.Time
	last   history
	// next is the place of the latest look. It becomes the one that outlives the agent at the next
	// look: by then MariaDB has brought it to the disk, and no crash takes it back.
	next history
	// begins allows a history to begin while there is none, and why is the reason.
	begins bool
	why    string
	// purging is true when the latest look found a log that is listed and not there, absent when it
	// was the current one.
	purging, absent bool
}

// history is what is kept of a history.
type history struct {
	ID string `json:"id"`
	logPlace
	Digest string `json:"digest"`
	// Reason is why it is another one than that before it.
	Reason string `json:"reason,omitempty"`
}

// logPlace is a place in a binary log, and a position that the log has before it.
type logPlace struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Gtid   string `json:"gtid"`
}

// logList are the binary logs that MariaDB has, oldest first, and the position at their begin. A
// file that is not listed is of another history, whatever is in it.
type logList struct {
	files []string
	begin string
}

const (
	digestBytes = 4096        // before a place: its last events, with their times and checksums
	saveEvery   = time.Minute // of a place that moves within one history
)

// observe is the id of the history now, in which the binary logs of dir are at a place; empty when
// it cannot be told.
func (h *histories) observe(dir string, now logPlace, logs logList) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.load(); err != nil {
		return "", err
	}
	if h.last.ID == "" && !h.begins {
		return "", nil // it is not known whether it is another one
	}
	other, why, err := h.ended(dir, logs)
	if purging := errors.Is(err, errPurging); purging && h.purging {
		other, why, err = true, strings.TrimPrefix(err.Error(), errPurging.Error()+": "), nil
	} else {
		h.purging = purging
	}
	if err != nil {
		return "", err
	}
	latest := history{ID: h.last.ID, Reason: h.last.Reason}
	written, err := latest.moveTo(dir, now)
	switch {
	case err != nil:
		return "", err
	case other && !written:
		return "", nil // the next look begins another history
	case other:
		return h.begin(latest, why)
	case !written:
		return h.last.ID, nil
	}
	moved := h.next.ID != "" && h.next != h.last
	if moved {
		h.last = h.next
	}
	h.next = latest
	if !moved || time.Since(h.saved) < saveEvery {
		return h.last.ID, nil
	}
	return h.last.ID, h.save()
}

// ended is true when the binary log does not have the history, and why: empty when there was none.
func (h *histories) ended(dir string, logs logList) (other bool, why string, err error) {
	if h.last.ID == "" {
		return true, h.why, nil
	}
	why, err = h.last.lacks(dir, logs)
	if err == nil && why == "" && h.next.ID != "" {
		why, err = h.next.lacks(dir, logs)
	}
	return why != "", why, err
}

func (h *histories) save() error {
	h.saved = time.Now()
	if err := os.MkdirAll(filepath.Dir(h.file), 0o700); err != nil {
		return err
	}
	return atomicfile.WriteJSON(h.file, h.last)
}

// of is observe for a status. What cannot be told is left to the next look.
func (h *histories) of(live Live, dir string) history {
	if live.BinlogFile == "" {
		return history{}
	}
	if h.removed(dir, live.BinlogFile) {
		return history{Reason: "the current binary log, " + live.BinlogFile +
			", is not there any more: its file was deleted"}
	}
	if len(live.logs) == 0 {
		return history{}
	}
	id, err := h.observe(dir, logPlace{live.BinlogFile, live.BinlogOffset, live.Gtid.Binlog},
		logList{live.logs, live.OldestGtid})
	if err != nil {
		h.log.Warn("cannot tell the history of the binary log", "error", err)
	}
	if err != nil || id == "" {
		return history{}
	}
	return h.known()
}

// removed is true when the file of the current log is not there at two looks. MariaDB goes on
// writing to it, and nobody else can read it.
func (h *histories) removed(dir, file string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.absent
	h.absent = false
	if logs, err := untrusted.Open(dir); err == nil {
		defer logs.Close()
		_, err = logs.Stat(filepath.Base(file))
		h.absent = errors.Is(err, fs.ErrNotExist)
	}
	return was && h.absent
}

// known is the history of the latest look, at its latest place.
func (h *histories) known() history {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next.ID != "" {
		return h.next
	}
	return h.last
}

// load reads what an earlier agent kept. What is torn is lost, like what is gone.
func (h *histories) load() error {
	if h.loaded {
		return nil
	}
	_, err := atomicfile.ReadJSON(h.file, &h.last)
	var unreadable *fs.PathError
	if errors.As(err, &unreadable) {
		return fmt.Errorf("cannot read the history of the binary log: %w", err)
	}
	if err != nil {
		h.log.Warn("the history of the binary log is torn", "error", err)
		h.last = history{}
	}
	h.loaded = true
	return nil
}

// begin begins another history.
func (h *histories) begin(at history, why string) (string, error) {
	if why != "" {
		h.log.Warn("the binary log has another history", "reason", why, "was_at", h.last.File,
			"offset", h.last.Offset, "is_at", at.File)
	}
	at.ID, at.Reason = rand.Text(), why
	h.last, h.next, h.begins, h.why = at, history{}, false, ""
	return at.ID, h.save()
}

// moveTo remembers another place; false when MariaDB has not written up to it yet.
func (h *history) moveTo(dir string, to logPlace) (bool, error) {
	digest, err := digestBefore(dir, to)
	if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		h.logPlace, h.Digest = to, digest
	}
	return err == nil, err
}

// errPurging is a log that went between the list of the logs and the look into it.
var errPurging = errors.New("the binary log is purged at this moment")

// lacks is empty while the bytes before the place are there, or were purged by a log that goes on
// from there; else it is what is gone.
func (h *history) lacks(dir string, logs logList) (string, error) {
	if !slices.Contains(logs.files, h.File) {
		begins, err := gtid.ParsePosition(logs.begin)
		had, hadErr := gtid.ParsePosition(h.Gtid)
		if len(logs.files) > 0 && laterLog(logs.files[0], h.File) && begins.Contains(had) {
			return "", errors.Join(err, hadErr)
		}
		return "the binary log has no " + h.File + " any more", errors.Join(err, hadErr)
	}
	digest, err := digestBefore(dir, h.logPlace)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s is listed, and not there", errPurging, h.File)
	}
	if errors.Is(err, io.EOF) {
		return fmt.Sprintf("%s is shorter than the %d bytes that it had", h.File, h.Offset), nil
	}
	if err == nil && digest != h.Digest {
		return fmt.Sprintf("%s has other events before offset %d than it had", h.File, h.Offset),
			nil
	}
	return "", err
}

// digestBefore is of the bytes before a place. The flag of a log that is in use is left out:
// MariaDB clears it at the end of the log.
func digestBefore(dir string, at logPlace) (string, error) {
	logs, err := untrusted.Open(dir)
	if err != nil {
		return "", err
	}
	defer logs.Close()
	file, err := logs.OpenFile(filepath.Base(at.File))
	if err != nil {
		return "", err
	}
	defer file.Close()
	from := max(0, at.Offset-digestBytes)
	bytes := make([]byte, at.Offset-from)
	if _, err := file.ReadAt(bytes, from); err != nil {
		return "", err
	}
	const flags = 4 + 17 // behind the magic, in the header of the first event
	for i := int64(flags); i < flags+2; i++ {
		if i >= from && i < at.Offset {
			bytes[i-from] = 0
		}
	}
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:]), nil
}
