package store

import (
	"context"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// List implements job.Records.
func (r jobs) List(ctx context.Context, f job.Filter) ([]job.Job, string, error) {
	page := Page{Size: f.PageSize, Token: f.PageToken}
	f.PageSize, f.PageToken = 0, ""
	c, err := page.open(f)
	if err != nil {
		return nil, "", err
	}
	where := jobConditions(f)
	if c.after != nil {
		where.add("id < ?", c.after.Key)
	}
	query := "SELECT " + jobColumns + " FROM jobs" + where.where() + " ORDER BY id DESC" + c.limit()
	list, err := rowsOf(ctx, r.tx, scanJob, query, where.args...)
	if err != nil {
		return nil, "", err
	}
	list, next := cut(c, list, func(j job.Job) (string, int64) { return j.ID, 0 })
	return list, next, r.readSteps(ctx, list)
}

func jobConditions(f job.Filter) conditions {
	var c conditions
	in(&c, "kind", f.Kinds)
	in(&c, "state", f.States)
	c.within("created_at", f.CreatedAfter, f.CreatedBefore)
	if f.Text != "" {
		c.add("INSTR(LOWER(title), LOWER(?)) + INSTR(LOWER(reason), LOWER(?)) + "+
			"INSTR(LOWER(subjects), LOWER(?)) > 0", f.Text, f.Text, f.Text)
	}
	if f.Subject != "" {
		c.add("id IN (SELECT job_id FROM job_subjects WHERE subject = ?)", f.Subject)
	}
	c.inScope(f.Scope, func(scope inventory.Scope) condition { return jobIn(scope)("id") })
	return c
}

// UnfinishedJobs reads the jobs about each of these subjects that have not ended, the newest first,
// without their steps.
func (tx *Tx) UnfinishedJobs(ctx context.Context,
	subjects []string) (map[string][]job.Job, error) {
	found := map[string][]job.Job{}
	for some := range slices.Chunk(subjects, namesAtOnce) {
		args := []any{job.Succeeded, job.Failed, job.Cancelled}
		for _, subject := range some {
			args = append(args, subject)
		}
		rows, err := rowsOf(ctx, tx, scanSubjectJob, "SELECT s.subject, j.id, j.kind, j.state, "+
			"j.title FROM jobs j JOIN job_subjects s ON s.job_id = j.id WHERE j.state NOT IN "+
			"(?, ?, ?) AND s.subject IN ("+marks(len(some))+") ORDER BY j.id DESC", args...)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			found[row.subject] = append(found[row.subject], row.job)
		}
	}
	return found, nil
}

type subjectJob struct {
	subject string
	job     job.Job
}

func scanSubjectJob(row scanner) (s subjectJob, err error) {
	err = row.Scan(&s.subject, &s.job.ID, &s.job.Kind, &s.job.State, &s.job.Title)
	return s, err
}
