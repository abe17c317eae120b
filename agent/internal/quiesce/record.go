package quiesce

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// record is what the process of a session that outlives its agent leaves behind, for a caller that
// adopts it too late. A reboot removes it.
type record struct {
	Spec   Spec                  `json:"spec"`
	Point  consistentpoint.Point `json:"point"`
	Result *Result               `json:"result,omitempty"` // absent: it has none yet, or was killed
}

func recordFile(dir string) string { return filepath.Join(dir, "quiesce.record") }

func writeRecord(dir string, r record) error {
	if err := atomicfile.WriteJSON(recordFile(dir), r); err != nil {
		return fmt.Errorf("cannot record the consistent point: %w", err)
	}
	return nil
}

// past is a session of this job that has ended, as the host remembers it: with its result, or the
// reason why it has none.
func (m *Manager) past(ctx context.Context, job, nonce string) (*Session, error) {
	var r record
	found, err := atomicfile.ReadJSON(recordFile(m.config.Dir), &r)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the record of the consistent point: %w", err)
	case !found || !r.Spec.of(job, nonce):
		return nil, broken("this host, which started " + uptime().String() +
			" ago, has no trace of it")
	case r.Result == nil:
		why := m.exit(ctx, nonce)
		if m.active.CompareAndSwap(false, true) {
			m.over()
		}
		return nil, broken("the process that held it is gone: " + why)
	}
	h := &hold{manager: m, spec: r.Spec, point: r.Point, ended: make(chan struct{}),
		result: r.Result}
	close(h.ended)
	return &Session{Point: r.Point, hold: h}, nil
}

func broken(why string) error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BROKEN,
		"cannot go on with the consistent point: "+why,
		errs.WithHint("quiesce MariaDB again"))
}

// uptime is how long ago the host was started.
func uptime() time.Duration {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return time.Duration(info.Uptime) * time.Second
}
