// Package job runs durable jobs. It knows no domain.
//
// A [Plan] names a kind of job and its steps in order. [Engine.Create] writes the job and all of
// its steps as rows; from then on the rows are the truth, so that another process, or a newer
// version of this one, can go on with the job. A step's [Handler] makes something true and answers
// with an [Outcome]; the outcome may carry a commit function, which runs in the very transaction
// that records the step as done. T is that transaction's type.
//
// # Writing a handler
//
//	func attachVolume(ctx context.Context, run *job.Run) (job.Outcome[*store.Tx], error) {
//		vol, err := cloud.EnsureAttached(ctx, volumeID, machineID, run.EffectKey)   // converges: look, act on the difference, look
//		if err != nil {
//			return job.Fail[*store.Tx](err)                                          // retried with back-off; job.Permanent(err) is not
//		}
//		if vol.State != "attached" {
//			return job.Again[*store.Tx](time.Second, "volume is %s", vol.State)      // a wait: woken by Engine.Wake, polled behind it
//		}
//		run.Changed("attached volume %s", vol.ID)
//		return job.Done(func(ctx context.Context, tx *store.Tx) error {
//			return tx.Volumes().Update(ctx, record)                                  // commits with the step, or not at all
//		})
//	}
//
// Handlers are called at least once: after a crash a step that was running is run again, with the
// same [Run.EffectKey]. What a handler makes must be found again by that key.
//
// # Sections, always-steps, kept values
//
// Steps that carry the same Section are one critical section: they are only ever started from its
// first step. A handler that finds the section broken answers [Back]; the section is started over
// with a new generation. A step with Always set also runs when the job fails or is cancelled, if
// its section had begun (outside a section: if the job had begun). [Run.Keep] ties a value, say an
// open lease, to this process's hold on the job: it is closed when the section or the hold ends,
// whatever the reason.
//
// # Ownership
//
// A worker holds a job by (owner, epoch) and a heartbeat. Every transaction it makes first updates
// the job's row under both; when another process took the job over that update finds nothing, the
// handler's context ends with [ErrFenced] and nothing is written. Another process takes over when
// epoch and heartbeat have not moved for the limit on its own monotonic clock. There is no other
// way back from a crash.
//
// # Requests of people
//
// Retry goes on from where the job stopped; RetryStep runs one step (or its section) alone, also
// after success; Redo does a step and all after it anew, under new effect keys; Skip goes past a
// step, Cancel stops at a safe point, Cleanup removes what the job made. All are audited. What each
// does from every state is pinned by the table in fsm_test.go.
//
// Args, reasons, progress and errors are stored and shown: they must never hold a secret.
package job
