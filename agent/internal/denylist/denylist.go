// Package denylist keeps which certificates an agent refuses although they have not expired: those
// of operators who were revoked, as the control plane tells.
package denylist

import (
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// List is the list of now, which outlives the agent's process.
type List struct {
	path  string
	now   func() time.Time
	write func(path string, list any) error

	// setting lets one Set run at a time. It is held while the disk writes, which handshakes do not
	// wait for.
	setting sync.Mutex
	saved   bool

	mu   sync.RWMutex // of list, which setting changes
	list kept
}

// kept is what the file has. A serial is forgotten once its certificate has expired.
type kept struct {
	Sequence int64                `json:"sequence"`
	Denied   map[string]time.Time `json:"denied"`
}

// Open reads the file, which may be absent; its directory must exist. An unreadable file is an
// error: without it, who was revoked would be let in.
func Open(path string) (*List, error) {
	l := &List{path: path, now: time.Now, write: atomicfile.WriteJSON, saved: true}
	if err := atomicfile.Tidy(path); err != nil {
		return nil, fmt.Errorf("cannot remove what a killed agent left beside %s: %w", path, err)
	}
	if _, err := atomicfile.ReadJSON(path, &l.list); err != nil {
		return nil, errs.New(errs.DataLoss, errorsv1.Reason_REASON_INTERNAL,
			"cannot read which certificates are revoked", errs.Wrap(err),
			errs.WithHint(fmt.Sprintf("remove %s: the control plane tells it again", path)))
	}
	return l, nil
}

// Denied says whether the certificate with that serial is refused.
func (l *List) Denied(serial string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, denied := l.list.Denied[serial]
	return denied
}

// Set takes a list that is not older than the one of now, and says whether it changed anything.
// Nobody is let in again by it: what a control plane forgot, as one does that is restored from a
// backup, stays refused. A list that cannot be written is in force all the same.
func (l *List) Set(sequence int64, denied map[string]time.Time) (changed bool, err error) {
	l.setting.Lock()
	defer l.setting.Unlock()
	if sequence < l.list.Sequence {
		return false, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_SUPERSEDED,
			fmt.Sprintf("deny list %d is over: the agent has list %d", sequence, l.list.Sequence),
			errs.WithHint("send the newest list"))
	}
	next := kept{Sequence: sequence, Denied: maps.Clone(l.list.Denied)}
	if next.Denied == nil {
		next.Denied = map[string]time.Time{}
	}
	maps.Copy(next.Denied, denied)
	now := l.now()
	maps.DeleteFunc(next.Denied, func(_ string, expires time.Time) bool {
		return !now.Before(expires)
	})
	if l.saved && sequence == l.list.Sequence && maps.EqualFunc(next.Denied, l.list.Denied,
		time.Time.Equal) {
		return false, nil
	}
	l.mu.Lock()
	l.list = next
	l.mu.Unlock()
	l.saved = false
	if err := l.write(l.path, next); err != nil {
		return true, l.unsaved(err)
	}
	l.saved = true
	return true, nil
}

func (l *List) unsaved(err error) error {
	const what = "cannot keep which certificates are revoked"
	if errs.NoRoom(err) {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_DISK_FULL, what,
			errs.Wrap(err), errs.WithHint("free space on the filesystem of "+filepath.Dir(l.path)))
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE, what,
		errs.Wrap(err), errs.WithHint("make the filesystem of "+filepath.Dir(l.path)+" writable"),
		errs.Retry(time.Second))
}
