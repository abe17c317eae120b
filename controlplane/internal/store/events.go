package store

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// EventFilter narrows the audit. Zero fields do not narrow.
type EventFilter struct {
	Subject string
	Job     string
	Actor   string
	Action  string
	Text    string    // what the message contains, in any case
	After   time.Time // this time included
	Before  time.Time // this time excluded
	Scope   inventory.Scope
}

// jobSubject begins the subject of an event of a job.
const jobSubject = "jobs/"

// Events is the audit.
type Events struct{ tx *Tx }

// Events gives the audit.
func (tx *Tx) Events() Events { return Events{tx: tx} }

const eventColumns = "id, at, actor, action, subject, job, step, request_id, message"

// Add appends an event; its ID is minted, and its time set when it has none.
func (e Events) Add(ctx context.Context, ev inventory.Event) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if ev.At.IsZero() {
		ev.At = e.tx.now
	}
	_, err = e.tx.exec(ctx, insertSQL("events", eventColumns), id.String(), millis(ev.At), ev.Actor,
		ev.Action, ev.Subject, ev.Job,
		ev.Step, ev.RequestID, shorten(ev.Message))
	return err
}

// longestMessage bounds the text of an event, in bytes: others say it, and a page has a thousand.
const longestMessage = 2 << 10

// shorten cuts a text that is too long, and what a terminal or a database would take amiss.
func shorten(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), longestMessage)], "")
}

// List reads a page of events, newest first, and the token of the next page (empty at the end).
func (e Events) List(ctx context.Context, f EventFilter,
	p Page) ([]inventory.Event, string, error) {
	c, err := p.open(f)
	if err != nil {
		return nil, "", err
	}
	var where conditions
	where.equal("subject", f.Subject)
	where.equal("job", f.Job)
	where.equal("actor", f.Actor)
	where.equal("action", f.Action)
	where.contains("message", f.Text)
	where.within("at", f.After, f.Before)
	where.inScope(f.Scope, subjectIn("subject"))
	if c.after != nil {
		where.add("id < ?", c.after.Key)
	}
	query := "SELECT " + eventColumns + " FROM events" + where.where() + " ORDER BY id DESC" +
		c.limit()
	list, err := rowsOf(ctx, e.tx, scanEvent, query, where.args...)
	list, next := cut(c, list, func(ev inventory.Event) (string, int64) { return ev.ID, 0 })
	return list, next, err
}

func scanEvent(row scanner) (ev inventory.Event, err error) {
	err = row.Scan(&ev.ID, moment{&ev.At}, &ev.Actor, &ev.Action, &ev.Subject, &ev.Job, &ev.Step,
		&ev.RequestID, &ev.Message)
	return ev, err
}

func eventOfJob(e job.Event) inventory.Event {
	return inventory.Event{
		At: e.At, Actor: e.Who, Action: e.Kind, Subject: jobSubject + e.JobID, Job: e.JobID,
		Step: e.Step, RequestID: e.RequestID, Message: e.Message,
	}
}
