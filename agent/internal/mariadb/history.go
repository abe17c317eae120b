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
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/gtid"
)

// histories tell one history of the binary log from another one: RESET MASTER, a datadir that was
// put back, a tail that a crash took. A GTID does not tell: the numbers come again. It remembers a
// place in the binary log and the bytes before it, follows the log from look to look, and gives the
// history another id where the remembered bytes are not there any more.
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
}

// history is what is kept of a history.
type history struct {
	ID string `json:"id"`
	logPlace
	Digest string `json:"digest"`
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
	holds, err := h.last.holds(dir, logs)
	if err == nil && holds && h.next.ID != "" {
		holds, err = h.next.holds(dir, logs)
	}
	if err != nil {
		return "", err
	}
	latest := history{ID: h.last.ID}
	written, err := latest.moveTo(dir, now)
	switch {
	case err != nil:
		return "", err
	case !holds && !written:
		return "", nil // the next look begins another history
	case !holds:
		return h.begin(latest)
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

func (h *histories) save() error {
	h.saved = time.Now()
	return atomicfile.WriteJSON(h.file, h.last)
}

// of is observe for a status. What cannot be told is left to the next look.
func (h *histories) of(live Live, dir string) string {
	if live.BinlogFile == "" || len(live.logs) == 0 {
		return ""
	}
	id, err := h.observe(dir, logPlace{live.BinlogFile, live.BinlogOffset, live.Gtid.Binlog},
		logList{live.logs, live.OldestGtid})
	if err != nil {
		h.log.Warn("cannot tell the history of the binary log", "error", err)
		return ""
	}
	return id
}

// known is the id of the latest look.
func (h *histories) known() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last.ID
}

func (h *histories) load() error {
	if h.loaded {
		return nil
	}
	if _, err := atomicfile.ReadJSON(h.file, &h.last); err != nil {
		return fmt.Errorf("cannot read the history of the binary log: %w", err)
	}
	h.loaded = true
	return os.MkdirAll(filepath.Dir(h.file), 0o700)
}

// begin begins another history.
func (h *histories) begin(at history) (string, error) {
	if old := h.last; old.ID != "" {
		h.log.Warn("the binary log has another history", "was_at", old.File, "offset", old.Offset,
			"is_at", at.File)
	}
	at.ID = rand.Text()
	h.last, h.next = at, history{}
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

// holds is true while the bytes before the place are there, or were purged by a log that goes on
// from there.
func (h *history) holds(dir string, logs logList) (bool, error) {
	if h.ID == "" {
		return false, nil
	}
	if !slices.Contains(logs.files, h.File) {
		begins, err := gtid.ParsePosition(logs.begin)
		had, hadErr := gtid.ParsePosition(h.Gtid)
		return len(logs.files) > 0 && laterLog(logs.files[0], h.File) && begins.Contains(had),
			errors.Join(err, hadErr)
	}
	digest, err := digestBefore(dir, h.logPlace)
	if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
		return false, nil // the log is shorter than it was
	}
	return digest == h.Digest, err
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
