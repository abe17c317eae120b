package job_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// cloud stands for a provider: what it makes is found again by the effect key.
type cloud map[string]string

func (c cloud) ensureMachine(key string) string {
	if c[key] == "" {
		c[key] = "m-1"
	}
	return c[key]
}

// A job of two steps: the first makes a machine and records it in the same transaction that records
// the step; the second waits.
func Example() {
	dir, err := os.MkdirTemp("", "job")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	st, err := store.Open(ctx, store.Config{Path: filepath.Join(dir, "u.db"),
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer st.Close()

	c := cloud{}
	createMachine := func(_ context.Context, run *job.Run) (job.Outcome[*store.Tx], error) {
		var args struct{ Server string }
		if err := json.Unmarshal(run.Args, &args); err != nil {
			return failed(err)
		}
		id := c.ensureMachine(run.EffectKey)
		run.Changed("made machine %s", id)
		return job.Done(func(ctx context.Context, tx *store.Tx) error {
			server, err := tx.Servers().Get(ctx, args.Server)
			if err != nil {
				return err
			}
			server.MachineID = id
			return tx.Servers().Update(ctx, &server)
		})
	}
	looks := 0
	awaitAgent := func(context.Context, *job.Run) (job.Outcome[*store.Tx], error) {
		if looks++; looks < 3 {
			return job.Again[*store.Tx](10*time.Millisecond, "the agent has not enrolled")
		}
		return job.Done[*store.Tx](nil)
	}
	engine, err := job.New(job.Config[*store.Tx]{
		Store: st, Logger: slog.New(slog.DiscardHandler),
		Plans: []job.Plan[*store.Tx]{{
			Kind: "create_server", Title: "Create a server",
			Steps: []job.PlanStep[*store.Tx]{
				{Kind: "create_machine", Title: "Create the machine", Handler: createMachine},
				{Kind: "await_agent", Title: "Wait for its agent", Handler: awaitAgent,
					Timeout: time.Minute},
			},
		}},
	})
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()

	err = st.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.Servers().Insert(ctx,
			&inventory.Server{Name: "db1", State: inventory.ServerProvisioning}); err != nil {
			return err
		}
		_, err := engine.CreateTx(ctx, tx, job.Request{
			Kind: "create_server", Args: map[string]string{"server": "db1"},
			Subjects: []string{"servers/db1"}, RequestID: "r1", Who: "ann",
		})
		return err
	})
	if err != nil {
		panic(err)
	}
	jobs, _, err := engine.List(ctx, job.Filter{Subject: "servers/db1"})
	if err != nil {
		panic(err)
	}
	updates, err := engine.Watch(ctx, jobs[0].ID)
	if err != nil {
		panic(err)
	}
	for j := range updates {
		if j.State.Ended() {
			for _, s := range j.Steps {
				fmt.Println(s.Title, s.State, s.Changed)
			}
			break
		}
	}
	cancel()
	<-ended
	// Output:
	// Create the machine succeeded [made machine m-1]
	// Wait for its agent succeeded []
}
