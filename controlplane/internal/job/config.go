package job

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/understudy-db/understudy/proto/loop"
)

// Point is a place in the work on a step where tests can break it.
type Point string

// The failpoints.
const (
	// BeforeEffect is before the handler is called; the attempt is recorded.
	BeforeEffect Point = "before_effect"
	// AfterEffect is after the handler returned; its outcome is not recorded.
	AfterEffect Point = "after_effect"
	// AfterCommit is after the outcome was recorded.
	AfterCommit Point = "after_commit"
)

// Config is what an engine needs. Only Store is required.
type Config[T any] struct {
	Store Store[T]
	Plans []Plan[T] // more can be added by Register before Run
	// unique for each start of each process; default: host, pid and a random part
	Owner  string
	Limit  time.Duration // without a heartbeat, after which a job is taken over; default 3 s
	Poll   time.Duration // longest time between two polls of anything; default and maximum 1 s
	Hold   int           // jobs held at the same time; default 64
	Logger *slog.Logger  // default slog.Default()
	Loops  *loop.Set     // gets the scan for jobs; default a set of its own
	// Hook, if set, is called at each failpoint of each step, waits included. It may block or end
	// the process.
	Hook func(point Point, jobID, step string)
	// Observer, if set, follows what this process does for jobs.
	Observer Observer
	// Now and Random are the sources of wall-clock time for records, and of jitter; defaults are
	// the real ones. Waits, heartbeats and deadlines go by the monotonic clock.
	Now    func() time.Time
	Random func() float64
}

const (
	defaultLimit = 3 * time.Second
	maxPoll      = time.Second
	defaultHold  = 64
)

func (c Config[T]) withDefaults() (Config[T], error) {
	if c.Store == nil {
		return c, errors.New("job engine: no store")
	}
	if c.Limit < 0 || c.Poll < 0 || c.Hold < 0 {
		return c, errors.New("job engine: limit, poll and hold must not be negative")
	}
	c.Owner = or(c.Owner, newOwner())
	c.Limit = or(c.Limit, defaultLimit)
	c.Poll = min(or(c.Poll, maxPoll), maxPoll)
	c.Hold = or(c.Hold, defaultHold)
	c.Logger = or(c.Logger, slog.Default())
	if c.Loops == nil {
		c.Loops = loop.NewSet(c.Logger)
	}
	if c.Hook == nil {
		c.Hook = func(Point, string, string) {}
	}
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return c, nil
}

func newOwner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%s", clip(host, 60), os.Getpid(), uuid.NewString()[:8])
}
