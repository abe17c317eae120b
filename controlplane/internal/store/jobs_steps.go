package store

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

const stepColumns = "job_id, seq, kind, title, section, always, deletes_data, phase, state, " +
	"reason, generation, attempts, failures, restarts, " +
	"spent_ms, progress, found, changed, failure, started_at, finished_at"

// stepTexts are the columns of a step that are kept as encoded text.
func stepTexts(s *job.Step) (texts [4]string, err error) {
	for i, v := range []any{s.Progress, s.Found, s.Changed, s.Failure} {
		if texts[i], err = encoded(v); err != nil {
			return texts, err
		}
	}
	return texts, nil
}

func (r jobs) insertStep(ctx context.Context, s *job.Step) error {
	texts, err := stepTexts(s)
	if err != nil {
		return err
	}
	_, err = r.tx.exec(ctx, insertSQL("job_steps", stepColumns), s.JobID, s.Seq, s.Kind, s.Title,
		s.Section, flag(s.Always), flag(s.DeletesData), s.Phase, s.State, s.Reason, s.Generation,
		s.Attempts, s.Failures, s.Restarts, s.Spent.Milliseconds(),
		texts[0], texts[1], texts[2], texts[3], millis(s.Started), millis(s.Finished))
	return err
}

func (r jobs) updateStep(ctx context.Context, s *job.Step) error {
	texts, err := stepTexts(s)
	if err != nil {
		return err
	}
	const query = "UPDATE job_steps SET state = ?, reason = ?, generation = ?, attempts = ?, " +
		"failures = ?, restarts = ?, spent_ms = ?, " +
		"progress = ?, found = ?, changed = ?, failure = ?, started_at = ?, finished_at = ? " +
		"WHERE job_id = ? AND seq = ?"
	n, err := r.tx.exec(ctx, query, s.State, s.Reason, s.Generation, s.Attempts, s.Failures,
		s.Restarts, s.Spent.Milliseconds(),
		texts[0], texts[1], texts[2], texts[3], millis(s.Started), millis(s.Finished), s.JobID,
		s.Seq)
	if err == nil && n == 0 {
		return r.insertStep(ctx, s)
	}
	return err
}

func scanStep(row scanner) (job.Step, error) {
	var s job.Step
	var spent int64
	err := row.Scan(&s.JobID, &s.Seq, &s.Kind, &s.Title, &s.Section, &s.Always, &s.DeletesData,
		&s.Phase, &s.State, &s.Reason,
		&s.Generation, &s.Attempts, &s.Failures, &s.Restarts, &spent, decoded{&s.Progress},
		decoded{&s.Found}, decoded{&s.Changed},
		decoded{&s.Failure}, moment{&s.Started}, moment{&s.Finished})
	s.Spent = duration(spent)
	return s, err
}

// readSteps fills in the steps of the jobs.
func (r jobs) readSteps(ctx context.Context, list []job.Job) error {
	if len(list) == 0 {
		return nil
	}
	at := map[string]int{}
	var ids []any
	for i := range list {
		at[list[i].ID] = i
		ids = append(ids, list[i].ID)
	}
	query := "SELECT " + stepColumns + " FROM job_steps WHERE job_id IN (" + marks(len(ids)) +
		") ORDER BY job_id, seq"
	steps, err := rowsOf(ctx, r.tx, scanStep, query, ids...)
	for _, s := range steps {
		j := &list[at[s.JobID]]
		j.Steps = append(j.Steps, s)
	}
	return err
}

const attemptColumns = "job_id, seq, attempt, generation, epoch, owner, state, found, changed, " +
	"failure, started_at, finished_at"

// OpenAttempt implements job.Records.
func (r jobs) OpenAttempt(ctx context.Context, a job.Attempt) error {
	_, err := r.tx.exec(ctx, insertSQL("job_attempts", attemptColumns), a.JobID, a.Seq, a.Number,
		a.Generation, a.Epoch, a.Owner,
		a.State, "null", "null", "null", millis(a.Started), 0)
	return err
}

// CloseAttempt implements job.Records.
func (r jobs) CloseAttempt(ctx context.Context, a job.Attempt) error {
	texts, err := stepTexts(&job.Step{Found: a.Found, Changed: a.Changed, Failure: a.Failure})
	if err != nil {
		return err
	}
	_, err = r.tx.exec(ctx, "UPDATE job_attempts SET state = ?, found = ?, changed = ?, failure "+
		"= ?, finished_at = ? "+
		"WHERE job_id = ? AND seq = ? AND attempt = ? AND finished_at = 0",
		a.State, texts[1], texts[2], texts[3], millis(a.Finished), a.JobID, a.Seq, a.Number)
	return err
}

// Attempts implements job.Records.
func (r jobs) Attempts(ctx context.Context, id string) ([]job.Attempt, error) {
	query := "SELECT " + attemptColumns +
		" FROM job_attempts WHERE job_id = ? ORDER BY started_at, seq, attempt"
	return rowsOf(ctx, r.tx, scanAttempt, query, id)
}

func scanAttempt(row scanner) (job.Attempt, error) {
	var a job.Attempt
	err := row.Scan(&a.JobID, &a.Seq, &a.Number, &a.Generation, &a.Epoch, &a.Owner, &a.State,
		decoded{&a.Found}, decoded{&a.Changed},
		decoded{&a.Failure}, moment{&a.Started}, moment{&a.Finished})
	return a, err
}
