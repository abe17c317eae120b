package inventory

import "time"

// Event is one line of the audit: who asked what, what changed, when. Events are only ever added.
type Event struct {
	ID        string // sorts by time
	At        time.Time
	Actor     string // identity of who asked; "controlplane" for what a job did by itself
	Action    string // "server.create", "job.cancel", …
	Subject   string // "servers/x", "jobs/y"
	Job       string // job it belongs to; may be empty
	Step      string // step of that job; may be empty
	RequestID string
	Message   string
}
