package kit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// Kind is a kind of job. It is all that the engine, the services and the dry run know of it.
type Kind struct {
	Name     string // as in job records; Args.Kind answers it too
	Title    string
	Decode   func(raw json.RawMessage) (Args, error) // Decode[A] of the kind's own arguments
	Steps    []Step
	Sections map[string]job.Section
	Cleanup  []Step
	// Begin changes records in the transaction that makes the job, or refuses it. Optional.
	Begin func(ctx context.Context, rec Records, j job.Job) error
}

// Args are a kind's own arguments: what a request asks for, and what the job's row keeps.
//
// Two more methods may be there: Makes() string is the server that the job makes; Uses() []string
// are subjects that must not be deleted while the job is unfinished.
type Args interface {
	// Kind is the name of the kind.
	Kind() string
	// Resolve fills in what was left out, also from the records, and refuses what can never work,
	// all of it at once.
	Resolve(ctx context.Context, k *Kit, requestID string) (Args, error)
	// Check refuses what cannot be met as things stand. It changes nothing; the steps check again.
	Check(ctx context.Context, k *Kit) error
	// Title says what the job is for.
	Title() string
	// Subjects are what the job locks. The first one is what the job is about.
	Subjects() []string
}

// Step is one step of a kind.
type Step struct {
	Name  string
	Title string // what is true when it is done
	Run   Handler
	// DryRun observes what can be known beforehand, refuses what Run would refuse, and says what
	// Run would change. It answers Skip for a step that would be skipped. Optional.
	DryRun DryRun

	Section     string // of steps that start over together
	Always      bool   // also runs when the job fails or is cancelled
	DeletesData bool   // done again it deletes what a user could miss
	Proves      bool   // records the server that the job makes as READY

	Timeout  time.Duration // for the step as a whole; see job.PlanStep for the defaults
	Attempt  time.Duration // for one attempt
	Attempts int
	Backoff  job.Backoff
	// OperatorTimeout is the Timeout where operators do the provider's work; 0 leaves it.
	OperatorTimeout time.Duration
}

// DryRun observes for a step what can be known beforehand; see Step.
type DryRun func(ctx context.Context, c *Call, p *Preview) (would []string, err error)

// Handler makes a step true; see job.Handler. An error is explained to the engine by the kit: some
// mean a wait, some the end.
type Handler func(ctx context.Context, c *Call) (Outcome, error)

// Remover removes what is left of the server that a job makes, and answers with the commit that
// records it.
type Remover func(ctx context.Context, c *Call) (Commit, error)

// OperatorTime is how long a step waits for an operator.
const OperatorTime = 7 * 24 * time.Hour

// Decode reads a kind's arguments from a job's row.
func Decode[A Args](raw json.RawMessage) (Args, error) {
	var a A
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("cannot read the arguments of a job %s: %w", a.Kind(), err)
	}
	return a, nil
}

// Typed makes a handler of one that takes its job's arguments as A: the kind's own, or, for a step
// of several kinds, an interface that their arguments have, such as ForMaking.
func Typed[A any](run func(ctx context.Context, c *Call, args A) (Outcome, error)) Handler {
	return func(ctx context.Context, c *Call) (Outcome, error) {
		return run(ctx, c, c.Args.(A))
	}
}

// Register adds kinds.
func (k *Kit) Register(kinds ...Kind) {
	for _, kind := range kinds {
		k.kinds[kind.Name] = kind
	}
}

// Plans are the kinds as the engine runs them.
func (k *Kit) Plans() []job.Plan[Records] {
	var plans []job.Plan[Records]
	for _, kind := range k.kinds {
		plans = append(plans, job.Plan[Records]{
			Kind: kind.Name, Title: kind.Title, Sections: kind.Sections,
			Steps: k.planSteps(kind, kind.Steps), Cleanup: k.planSteps(kind, kind.Cleanup),
			Guard: k.guard(kind), Begin: kind.Begin, Again: k.unprove(kind),
		})
	}
	slices.SortFunc(plans, func(a, b job.Plan[Records]) int {
		return slices.Compare([]byte(a.Kind), []byte(b.Kind))
	})
	return plans
}

func (k *Kit) planSteps(kind Kind, steps []Step) []job.PlanStep[Records] {
	var plan []job.PlanStep[Records]
	for _, s := range steps {
		timeout := s.Timeout
		if _, manual := k.OperatorCopyTime(); manual && s.OperatorTimeout != 0 {
			timeout = s.OperatorTimeout
		}
		plan = append(plan, job.PlanStep[Records]{
			Kind: s.Name, Title: s.Title, Section: s.Section, Always: s.Always,
			DeletesData: s.DeletesData,
			Timeout:     timeout, AttemptTimeout: s.Attempt, Attempts: s.Attempts,
			Backoff: s.Backoff,
			Handler: func(ctx context.Context, run *job.Run) (Outcome, error) {
				return k.call(ctx, kind, run, s.Run)
			},
		})
	}
	return plan
}

// makes is the server that a job with these arguments makes; empty when it makes none.
func makes(args Args) string {
	if a, ok := args.(interface{ Makes() string }); ok {
		return a.Makes()
	}
	return ""
}

// uses are the subjects that must stay while a job with these arguments is unfinished.
func uses(args Args) []string {
	if a, ok := args.(interface{ Uses() []string }); ok {
		return a.Uses()
	}
	return nil
}
