package quiesce

import (
	"context"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/atomicfile"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// started are the transient units that were started; none of them runs a command.
type started struct{ names []string }

func (s *started) Get(context.Context, string) (systemd.Unit, error) { return systemd.Unit{}, nil }

func (s *started) StartTransient(_ context.Context, name string, _ systemd.TransientSpec) error {
	s.names = append(s.names, name)
	return nil
}

func (s *started) StopTransient(context.Context, string) error { return nil }

// TestAnotherQuiesceIsNotUndone has a job that comes late for a process that was killed, while
// MariaDB is quiesced for somebody else.
func TestAnotherQuiesceIsNotUndone(t *testing.T) {
	t.Parallel()
	dir, units := t.TempDir(), &started{}
	m, err := New(Config{Launcher: &UnitLauncher{Units: units}, Appliers: noAppliers{}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeRecord(dir, record{Spec: offlineSpec()}); err != nil {
		t.Fatal(err)
	}
	runs := recovery{Run: newRun(), Nonce: other,
		Commands: [][]string{{"/usr/bin/understudy-agent", "end-quiesce"}}}
	if err := atomicfile.WriteJSON(recoveryFile(dir), runs); err != nil {
		t.Fatal(err)
	}
	_, err = m.Adopt(t.Context(), theJob, theNonce)
	refused(t, err, errorsv1.Reason_REASON_QUIESCE_BROKEN, "quiesced again since")
	if len(units.names) > 0 {
		t.Errorf("started %v", units.names)
	}
	if _, found := readRecovery(dir); !found {
		t.Error("the recovery of the quiesce that goes on is gone")
	}
}
