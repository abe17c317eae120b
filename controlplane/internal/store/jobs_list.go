package store

import (
	"context"

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
	return c
}
