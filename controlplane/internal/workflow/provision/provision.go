// Package provision makes servers: a machine with its agent, a data volume, MariaDB on it. It has
// the primary as a job of its own; a replica's job takes its steps up to a MariaDB that serves.
package provision

import (
	"cmp"
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// KindCreatePrimary makes a primary.
const KindCreatePrimary = "create_primary"

// Args are what a primary is asked for with.
type Args struct {
	kit.ServerArgs
	Filesystem string `json:"filesystem,omitempty"`
	AutoPurge  bool   `json:"auto_purge,omitempty"`
}

const defaultVolume = 2 << 30

// Kind is create_primary.
func (Args) Kind() string { return KindCreatePrimary }

// Resolve sets defaults.
func (a Args) Resolve(context.Context, *kit.Kit, string) (kit.Args, error) {
	a.VolumeBytes = cmp.Or(a.VolumeBytes, defaultVolume)
	a.Filesystem = cmp.Or(a.Filesystem, "ext4")
	a.Fill()
	return a, nil
}

// Check refuses a name that is taken.
func (a Args) Check(ctx context.Context, k *kit.Kit) error { return k.NameFree(ctx, a.Server) }

// Title is what the job is for.
func (a Args) Title() string { return "make the primary " + a.Server }

// Subjects are the server.
func (a Args) Subjects() []string { return []string{inventory.ServerSubject(a.Server)} }

const patient = 12 // attempts of steps that ask much of the provider

// CreatePrimary is the kind. cleanup are the steps that remove a server, rest does them all at
// once.
func CreatePrimary(cleanup []kit.Step, rest kit.Remover) kit.Kind {
	steps := []kit.Step{{Name: "plan",
		Title: "the request can be met; the server_id is allocated",
		Run:   kit.Typed(planPrimary), DryRun: kit.DryTyped(dryPlan)}}
	steps = append(steps, MachineSteps()...)
	steps = append(steps,
		SwapStep("the image's default data volume is gone, a blank volume is attached"),
		kit.Step{Name: "format_volume", Title: "the blank volume has a filesystem",
			Run: kit.Typed(formatVolume), DryRun: kit.WouldFor(func(_ *kit.Preview,
				a Args) []string {
				return []string{"make " + a.Filesystem + " on the blank volume"}
			}), Attempt: 10 * time.Minute, Timeout: 30 * time.Minute},
		mountStep("the data volume is mounted, now and after a reboot", 10*time.Minute, time.Hour),
		configureStep("MariaDB has our settings", ""),
		kit.Step{Name: "initialize_datadir", Title: "the datadir is made",
			Run: onHost((*step).initializeDatadir), DryRun: kit.Would("make a new datadir"),
			Attempt: 5 * time.Minute},
		startStep("MariaDB is up and ready", "", time.Hour, 2*time.Hour),
		kit.Step{Name: "finish", Title: "the primary takes writes and is READY",
			Run: onHost((*step).finishPrimary), Proves: true,
			DryRun: kit.WouldFor(func(_ *kit.Preview, a Args) []string {
				return []string{"commit one row and record " + a.Server + " as READY"}
			})},
		kit.Step{Name: "settle", Title: "nothing of an earlier try is left",
			Run: settlePrimary(rest), Always: true,
			Timeout: 15 * time.Minute},
	)
	return kit.Kind{Name: KindCreatePrimary, Title: "make a primary", Decode: kit.Decode[Args],
		Steps: steps, Cleanup: cleanup}
}

// MachineSteps make a host.
func MachineSteps() []kit.Step {
	return []kit.Step{
		{Name: kit.StepCreateMachine, Title: "a machine from the image runs",
			Run: run((*step).createMachine), DryRun: kit.WouldFor(wouldCreate),
			Timeout: 15 * time.Minute, Attempts: patient, OperatorTimeout: kit.OperatorTime,
			DeletesData: true},
		{Name: "await_agent", Title: "the machine's own agent has enrolled and answers",
			Run: run((*step).awaitAgent), Timeout: 15 * time.Minute,
			DryRun:          kit.Would("give its agent an identity, by a one-time token"),
			OperatorTimeout: kit.OperatorTime},
	}
}

// SwapStep gives a host its data volume, in place of the one that it has.
func SwapStep(title string) kit.Step {
	return kit.Step{Name: kit.StepSwapVolume, Title: title, Run: run((*step).swapVolume),
		DryRun: kit.WouldFor(wouldSwap), Timeout: 30 * time.Minute, Attempt: 5 * time.Minute,
		Attempts: patient, OperatorTimeout: kit.OperatorTime, DeletesData: true}
}

// CopySteps make MariaDB serve from a copy of another server's data.
func CopySteps() []kit.Step {
	return []kit.Step{
		// A copy may be read for the first time here, from slow storage: a check of its filesystem
		// alone may take the agent's 6 hours.
		mountStep("the copy is mounted, now and after a reboot, and is the one that was taken",
			7*time.Hour, 24*time.Hour),
		configureStep("MariaDB has our settings and nothing of the source's",
			", read-only, no start of replication, no event scheduler"),
		startStep("MariaDB is up, ready, and at the recorded position",
			", once, and compare its position with the recorded one", 6*time.Hour, 24*time.Hour),
		{Name: "upgrade_mariadb", Title: "datadir and binary are of one series",
			Run: onHost((*step).upgradeMariaDB), DryRun: dryUpgrade, Attempt: 2 * time.Hour,
			Timeout: 6 * time.Hour,
			// Debian's start script may be at it too
			Attempts: patient, Backoff: job.Backoff{First: time.Second}},
	}
}

// Remount is the step of the job that made a server which starts MariaDB on it: it mounts the
// volume before.
func Remount(jobID string) []errs.Action {
	return []errs.Action{kit.RetryStep(jobID, "start_mariadb")}
}

func mountStep(title string, attempt, timeout time.Duration) kit.Step {
	return kit.Step{Name: "mount_data", Title: title, Run: onHost((*step).mountData),
		DryRun: kit.Would(kit.Sprintf("mount the volume at %s and bind its datadir to %s, by unit "+
			"files", kit.DataMount, kit.DatadirPath)), Attempt: attempt, Timeout: timeout}
}

func configureStep(title, more string) kit.Step {
	return kit.Step{Name: "configure_mariadb", Title: title, Run: onHost((*step).configureMariaDB),
		DryRun: kit.Would("write one option file: server_id, durability, TLS" + more)}
}

func startStep(title, more string, attempt, timeout time.Duration) kit.Step {
	return kit.Step{Name: "start_mariadb", Title: title, Run: onHost((*step).startMariaDB),
		DryRun: kit.Would("start MariaDB" + more), Attempt: attempt, Timeout: timeout}
}

// step is one call of a step of this family.
type step struct {
	*kit.Call
	args kit.MakeArgs
}

func run(h func(*step, context.Context) (kit.Outcome, error)) kit.Handler {
	return kit.Typed(func(ctx context.Context, c *kit.Call, args kit.ForMaking) (kit.Outcome,
		error) {
		return h(&step{Call: c, args: args.ForMaking()}, ctx)
	})
}

// onHost is run for a step that works on the server's host.
func onHost(h func(*step, context.Context, *host.Host) (kit.Outcome, error)) kit.Handler {
	return run(func(s *step, ctx context.Context) (kit.Outcome, error) {
		open, err := host.Open(ctx, s.Call, s.args)
		if err != nil {
			return kit.Outcome{}, err
		}
		return h(s, ctx, open)
	})
}

// planPrimary checks that a primary can be made and allocates what is unique about it.
func planPrimary(ctx context.Context, c *kit.Call, a Args) (kit.Outcome, error) {
	if _, err := c.Begun(ctx); err != nil {
		return kit.Outcome{}, err
	}
	image, err := c.Image(ctx, a.Image)
	if err != nil {
		return kit.Outcome{}, err
	}
	c.FoundImage(image)
	return kit.Done(c.RecordServer(kit.Making{ServerArgs: a.ServerArgs, Image: image.Name,
		Zone: a.Zone, AutoPurge: a.AutoPurge}))
}
