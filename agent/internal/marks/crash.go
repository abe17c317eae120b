package marks

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/loop"
)

// crash is the kind of mark of a crash that may have torn tables.
const crash = "crash"

// recovers is what MariaDB logs when it starts and was not stopped in order before.
var recovers = regexp.MustCompile(`^\d{4}-\d\d-\d\d +\d+:\d\d:\d\d \d+ \[\w+\] ` +
	`(InnoDB: Starting crash recovery|Recovering after a crash using )`)

// run is one run of MariaDB's unit.
type run struct {
	ID string `json:"id,omitempty"`
	// Since is no later than its start, and no earlier than the copy began; zero when that is not
	// known.
	Since time.Time `json:"since,omitzero"`
}

// crashed is a run that ended without a stop: when it had begun, and when the log told of its end.
type crashed struct {
	Since time.Time `json:"since,omitzero"`
	Told  time.Time `json:"told,omitzero"`
}

// ran takes the run that a line of the log is of.
func (k *Keeper) ran(e systemd.Entry) {
	if e.InvocationID == "" || e.InvocationID == k.kept.Run.ID {
		return
	}
	k.kept.Before, k.kept.Run = k.kept.Run, run{ID: e.InvocationID, Since: e.Time}
	if k.kept.Before.ID == "" { // it may have begun long before this line
		k.kept.Run.Since, k.kept.Before.Since = k.kept.Begun, k.kept.Begun
	}
	k.dirty = true
}

// recovered notes, from a line of the log, that the run before crashed. Of one that crashed while
// what the last one did is not known yet, both count.
func (k *Keeper) recovered(e systemd.Entry) {
	if k.cfg.Written == nil || k.kept.Recovered == e.InvocationID ||
		!recovers.MatchString(e.Message) {
		return
	}
	c := &crashed{Since: k.kept.Before.Since, Told: e.Time}
	if was := k.kept.Crashed; was != nil && was.Since.Before(c.Since) {
		c.Since = was.Since
	}
	k.kept.Crashed, k.kept.Recovered, k.dirty = c, e.InvocationID, true
}

// settleCrashes finds out, once MariaDB answers, whether the run that crashed had written to tables
// whose rows no log restores, until ctx ends.
func (k *Keeper) settleCrashes(ctx context.Context) {
	for ctx.Err() == nil {
		k.settleCrash(ctx)
		_ = loop.Pause(ctx, settleEvery)
	}
}

func (k *Keeper) settleCrash(ctx context.Context) {
	k.mu.Lock()
	c, begun := k.kept.Crashed, k.begun
	k.mu.Unlock()
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	written, err := k.cfg.Written(ctx, c.Since)
	if err != nil {
		k.cfg.Log.Debug("cannot tell yet what a crash of MariaDB may have torn", "error", err)
		return // it does not answer yet
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.begun != begun || k.kept.Crashed != c {
		return
	}
	k.kept.Crashed, k.dirty = nil, true
	if len(written) > 0 {
		k.note(crash, torn(written), false)
	}
	k.save()
}

// torn says what a crash may have done to tables.
func torn(tables []string) string {
	const named = 5
	text := strings.Join(tables[:min(named, len(tables))], ", ")
	if more := len(tables) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return "MariaDB crashed, and had written to tables without transactions, whose latest rows " +
		"may be lost, torn or applied twice: " + text
}
