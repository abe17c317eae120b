// Package trail is the agent's audit: a chain of records in files that only grow, kept until the
// control plane has them. docs/audit.md says why.
package trail

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// segmentBytes is when a file is full and the next one begins.
	segmentBytes = 1 << 20
	// mostBytes is what may wait for the control plane; then changes are refused.
	mostBytes = 64 << 20
	keyBytes  = 32
	chainFile = "chain.json"
	ackedFile = "acknowledged.json"
)

// names is what a chain has from its begin on.
type names struct {
	Chain string `json:"chain"`
	Key   string `json:"key"`
}

// Trail is the agent's chain.
type Trail struct {
	dir   string
	chain string
	key   audit.Key
	most  int64

	mu    sync.Mutex
	head  audit.Head
	acked audit.Head
	file  *os.File // of the newest segment; nil until the next record begins one
	size  int64    // of it
	total int64    // of all segments
	torn  bool     // the newest segment may end in a part of a record
}

// Open opens the chain in that directory, and begins one for the server when there is none. What a
// crash left of a record that was not written whole is removed.
func Open(dir, server string) (*Trail, error) {
	t := &Trail{dir: dir, most: mostBytes}
	if err := t.open(server); err != nil {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_AUDIT_UNAVAILABLE,
			"cannot open the audit in "+dir, errs.Wrap(err), errs.WithHint("see that its disk "+
				"works; when its files are broken move the directory away: a new chain begins"))
	}
	return t, nil
}

func (t *Trail) open(server string) error {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return err
	}
	if err := atomicfile.Tidy(t.path(chainFile), t.path(ackedFile)); err != nil {
		return err
	}
	if err := t.openIdentity(server); err != nil {
		return err
	}
	if _, err := atomicfile.ReadJSON(t.path(ackedFile), &t.acked); err != nil {
		return err
	}
	return t.openSegments()
}

// openIdentity reads whose chain it is; the first start makes it up.
func (t *Trail) openIdentity(server string) error {
	random := make([]byte, keyBytes+8)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	text, err := json.Marshal(names{Chain: audit.AgentChain(server, random[keyBytes:]),
		Key: hex.EncodeToString(random[:keyBytes])})
	if err != nil {
		return err
	}
	err = atomicfile.Create(t.path(chainFile), text, 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var own names
	if _, err := atomicfile.ReadJSON(t.path(chainFile), &own); err != nil {
		return err
	}
	key, err := hex.DecodeString(own.Key)
	if err != nil || len(key) != keyBytes || own.Chain == "" {
		return fmt.Errorf("%s is broken", t.path(chainFile))
	}
	t.chain, t.key = own.Chain, key
	return nil
}

func (t *Trail) path(name string) string { return filepath.Join(t.dir, name) }

// Key hashes secrets. It stays on this host.
func (t *Trail) Key() audit.Key { return t.key }

// Append makes the record the next one of the chain, on disk when it returns.
func (t *Trail) Append(_ context.Context, r audit.Record) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total >= t.room(r) {
		return 0, fmt.Errorf("%d MiB of records wait for the control plane to fetch them",
			t.total>>20)
	}
	r.Time = r.Time.UTC().Truncate(time.Millisecond)
	line, head, err := audit.Link(t.head, r)
	if err != nil {
		return 0, err
	}
	if err := t.write([]byte(line.Text() + "\n")); err != nil {
		return 0, err
	}
	t.head = head
	return head.Seq, nil
}

// room is what may wait for the control plane with that record. The second half is for the control
// plane's own calls and for outcomes: nobody else keeps it from its host.
func (t *Trail) room(r audit.Record) int64 {
	if r.Who == "" || r.Who == identity.ControlPlane().String() {
		return t.most
	}
	return t.most / 2
}

// write puts all of it on disk, or nothing.
func (t *Trail) write(text []byte) error {
	if err := t.mend(); err != nil {
		return err
	}
	if t.file == nil || t.size >= segmentBytes {
		if err := t.begin(); err != nil {
			return err
		}
	}
	_, err := t.file.Write(text)
	if err == nil {
		err = t.file.Sync()
	}
	if err != nil {
		t.torn = true
		return errors.Join(err, t.mend())
	}
	t.size, t.total = t.size+int64(len(text)), t.total+int64(len(text))
	return nil
}

// mend takes back what was written of a record in vain.
func (t *Trail) mend() error {
	if !t.torn {
		return nil
	}
	if err := errors.Join(t.file.Truncate(t.size), t.file.Sync()); err != nil {
		return err
	}
	t.torn = false
	return nil
}

// begin begins the segment of the next record.
func (t *Trail) begin() error {
	file, err := os.OpenFile(t.path(segmentOf(t.head.Seq+1)),
		os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := atomicfile.SyncDir(t.dir); err != nil {
		return errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	if t.file != nil {
		_ = t.file.Close() // all of it is on disk
	}
	t.file, t.size = file, 0
	return nil
}

// Close gives the file up.
func (t *Trail) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	return t.file.Close()
}
