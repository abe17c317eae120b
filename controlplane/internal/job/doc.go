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
//		// Converges: observes, acts on the difference, observes again.
//		vol, err := cloud.EnsureAttached(ctx, volumeID, machineID, run.EffectKey)
//		if err != nil {
//			// Retried with back-off; job.Permanent(err) is not.
//			return job.Outcome[*store.Tx]{}, err
//		}
//		if vol.State != "attached" {
//			// A wait: ended by Engine.Wake, with a poll behind it.
//			return job.Again[*store.Tx](time.Second, "volume is %s", vol.State)
//		}
//		run.Changed("attached volume %s", vol.ID)
//		return job.Done(func(ctx context.Context, tx *store.Tx) error {
//			// Commits with the step, or not at all.
//			return tx.Volumes().Update(ctx, record)
//		})
//	}
//
// Handlers are called at least once: after a crash a step that was running is run again, with the
// same [Run.EffectKey]. What a handler makes must be found again by that key.
//
// # Following one attempt
//
// claim.go finds a job that nobody holds and starts a worker. worker.go runs one attempt after the
// other and records each outcome in one transaction; attempt.go waits and calls the handler. The
// files fsm*.go hold every transition of jobs and steps, without any I/O.
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
// recovery from a crash.
//
// # Requests of operators
//
// Retry goes on from where the job stopped; RetryStep runs one step (or its section) alone, also
// after success; Redo does a step and all after it again, under new effect keys; Skip goes past a
// step, Cancel stops at a safe point, Cleanup removes what the job made. All are in the audit log.
// What each does from every state is pinned by the table in fsm_test.go.
//
// A step marked with DeletesData deletes data that a user could miss. Before such a step gets a new
// effect key, and before a cleanup, the plan's [Guard] decides in the request's own transaction,
// with the confirmation that the request carries. When a request makes steps run, the plan's Again
// says in that transaction what the job's records no longer prove.
//
// A request id makes a request once: the same request under the same id is answered with the job as
// it is, another request under it is refused.
//
// Args, reasons, progress and errors are stored and shown: they must never hold a secret.
package job
