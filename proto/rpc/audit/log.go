package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// writeLimit bounds a write that goes on although its call is over.
	writeLimit = 15 * time.Second
	// countFor is how long calls are counted that are left out, until a record says how many.
	countFor  = 10 * time.Second
	mostError = 512
	// releaseLimit is how long a call that releases waits for its record.
	releaseLimit = 2 * time.Second
)

// Sink keeps records. When Append returns without an error the record is on disk, as the next one
// of the chain.
type Sink interface {
	// Append gives the record its place, and answers with its Seq.
	Append(ctx context.Context, r Record) (int64, error)
}

// Call is a call of a method that changes something.
type Call struct {
	Peer      identity.Peer
	Method    string
	RequestID string
	// Grant is the id of the grant that it is made under; empty without one.
	Grant string
	// Request is what was asked for; nil when it was not read.
	Request proto.Message
}

// Config is what a Log needs; Sink and Key have no default.
type Config struct {
	Sink Sink
	Key  Key
	// Logger is told what could not be recorded; default slog.Default().
	Logger *slog.Logger
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Routine are methods that the control plane calls all the time: once in that time a call is
	// recorded, the others are counted.
	Routine map[string]time.Duration
	// Releases are methods that give back what is held: they run also when they cannot be
	// recorded, and are counted then.
	Releases []string
}

// Log records the calls of one server.
type Log struct {
	Config
	mu      sync.Mutex
	changes map[identity.Identity]*bucket
	enrol   crowd                         // changes of machines, by their address
	changed map[identity.Identity]*bucket // bytes of those that were allowed
	refused map[identity.Identity]*bucket
	bytes   map[identity.Identity]*bucket // of those that were refused
	routine map[string]*bucket
	left    map[caller]*left
	timer   *time.Timer
}

// caller is whose calls are counted together; those of a routine by their method.
type caller struct {
	who    identity.Identity
	method string
}

// left are calls that were left out, of one caller.
type left struct {
	count        int64
	since, until time.Time
}

// New makes a Log.
func New(config Config) (*Log, error) {
	if config.Sink == nil || len(config.Key) == 0 {
		return nil, errors.New("cannot make the audit: a sink and a key are needed")
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Log{Config: config, changes: map[identity.Identity]*bucket{}, enrol: crowd{},
		changed: map[identity.Identity]*bucket{},
		refused: map[identity.Identity]*bucket{}, bytes: map[identity.Identity]*bucket{},
		routine: map[string]*bucket{}, left: map[caller]*left{}}, nil
}

// Begin records that a call was allowed, before it changes anything. With an error it must not run.
// Its number is 0 for a call that is counted.
func (l *Log) Begin(ctx context.Context, call Call) (seq int64, err error) {
	who := call.Peer.Identity
	if l.counts(call) {
		l.leaveOut(caller{who, call.Method})
		return 0, nil
	}
	if wait := l.room(call.Peer); wait > 0 {
		l.LeaveOut(who)
		return 0, errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_RATE_LIMITED,
			fmt.Sprintf("%s makes more changing calls than the audit records", who),
			errs.Retry(wait), errs.WithHint("make fewer calls at a time"))
	}
	if slices.Contains(l.Releases, call.Method) {
		return l.release(ctx, call), nil
	}
	seq, err = l.Sink.Append(ctx, l.begin(call))
	if err != nil {
		return 0, errs.New(errs.Unavailable, errorsv1.Reason_REASON_AUDIT_UNAVAILABLE,
			"cannot record the call in the audit", errs.Wrap(err), errs.Retry(time.Second),
			errs.WithHint("nothing was changed; see that the disk of the audit has room and can "+
				"be written, then retry"))
	}
	return seq, nil
}

// room takes room for a changing call, or says how long to wait for it.
func (l *Log) room(peer identity.Peer) time.Duration {
	limit, limited := changes(peer.Identity.Role)
	if !limited {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if peer.Identity.Role == identity.RoleAnonymous {
		wait := l.enrol.take(identity.Network(peer.Address), enrolments, l.Now())
		if wait > 0 {
			return wait
		}
	}
	return of(l.changes, peer.Identity).take(limit, l.Now())
}

// begin is the record of a call that was allowed. Of who makes many large ones the parameters are
// size and hash.
func (l *Log) begin(call Call) Record {
	r, who := l.record(Begin, call), call.Peer.Identity
	if _, limited := changes(who.Role); !limited {
		return r
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if of(l.changed, who).takeSome(kib(r), changedBytes, l.Now()) > 0 {
		r.Parameters = brief(r.Parameters, mostBrief, l.Key)
	}
	return r
}

// release records a call that gives back what is held, and waits for no disk: one that is full, or
// frozen, would hold it for ever. Its number is 0 when it is counted instead.
func (l *Log) release(ctx context.Context, call Call) int64 {
	written := make(chan int64, 1)
	go func() {
		seq, err := l.append(ctx, l.record(Begin, call))
		if err != nil {
			l.Logger.Error("cannot record in the audit a call that releases, which is made",
				"method", call.Method, "request_id", call.RequestID, "error", err)
		}
		written <- seq
	}()
	late := time.NewTimer(releaseLimit)
	defer late.Stop()
	var seq int64
	select {
	case seq = <-written:
	case <-late.C:
	}
	if seq == 0 {
		l.leaveOut(caller{call.Peer.Identity, call.Method})
	}
	return seq
}

// End records the outcome of the call that Begin recorded.
func (l *Log) End(ctx context.Context, call Call, seq int64, outcome error) {
	if seq == 0 {
		return
	}
	r := Record{Time: l.Now(), Kind: End, Of: seq, Method: call.Method}
	r.outcome(outcome)
	if _, err := l.append(ctx, r); err != nil {
		l.Logger.Error("cannot record the outcome of a call in the audit", "method", call.Method,
			"of", seq, "request_id", call.RequestID, "code", r.Code, "error", err)
	}
}

// Refused records a call that was refused, or counts it when its caller has many of them.
func (l *Log) Refused(ctx context.Context, call Call, cause error) {
	who := call.Peer.Identity
	l.mu.Lock()
	calls := of(l.refused, who)
	wait, many := calls.take(refusals(who.Role), l.Now()), calls.used > detailed
	l.mu.Unlock()
	if wait > 0 {
		l.LeaveOut(who)
		return
	}
	r := l.record(Refused, call)
	r.outcome(cause)
	if many {
		r.Parameters = brief(r.Parameters, mostBrief, l.Key)
	}
	l.mu.Lock()
	wait = of(l.bytes, who).takeSome(kib(r), refusedBytes, l.Now())
	l.mu.Unlock()
	if wait > 0 {
		l.LeaveOut(who)
		return
	}
	if _, err := l.append(ctx, r); err != nil {
		l.Logger.Error("cannot record a refused call in the audit", "method", call.Method,
			"request_id", call.RequestID, "error", err)
		l.LeaveOut(who)
	}
}

// counts says whether the call is one of a routine, and not the one that is recorded.
func (l *Log) counts(call Call) bool {
	every, routine := l.Routine[call.Method]
	if !routine || call.Peer.Identity.Role != identity.RoleControlPlane {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return of(l.routine, call.Method).take(rate{burst: 1, every: every}, l.Now()) > 0
}

// LeaveOut counts a refused call of that caller instead of recording it.
func (l *Log) LeaveOut(who identity.Identity) { l.leaveOut(caller{who: who}) }

func (l *Log) leaveOut(who caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := countFor
	if who.method != "" {
		wait = l.Routine[who.method]
	}
	counted := l.left[who]
	if counted == nil {
		counted = &left{since: l.Now(), until: l.Now().Add(wait)}
		l.left[who] = counted
	}
	counted.count++
	if l.timer == nil {
		l.timer = time.AfterFunc(countFor, l.tick)
	}
}

// tick writes the counts whose time is over.
func (l *Log) tick() {
	l.flush(context.Background(), l.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if len(l.left) > 0 {
		l.timer = time.AfterFunc(countFor, l.tick)
	}
}

// Flush records how many calls were left out. A server calls it at its end.
func (l *Log) Flush(ctx context.Context) {
	l.mu.Lock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.mu.Unlock()
	l.flush(ctx, time.Time{})
}

// flush records the counts whose time is over then, or all of them.
func (l *Log) flush(ctx context.Context, now time.Time) {
	l.mu.Lock()
	over := map[caller]*left{}
	for who, counted := range l.left {
		if now.IsZero() || !counted.until.After(now) {
			over[who] = counted
			delete(l.left, who)
		}
	}
	l.mu.Unlock()
	for by, counted := range over {
		r := Record{Time: l.Now(), Kind: LeftOut, Who: by.who.String(), Method: by.method,
			Count: counted.count, Since: counted.since}
		if _, err := l.append(ctx, r); err != nil {
			l.Logger.Error("cannot record in the audit how many calls were refused", "peer",
				r.Who, "count", r.Count, "since", r.Since, "error", err)
			l.putBack(by, counted)
		}
	}
}

// putBack keeps a count that could not be written for the next time.
func (l *Log) putBack(by caller, counted *left) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if more := l.left[by]; more != nil {
		counted.count += more.count
	}
	counted.until = l.Now().Add(countFor)
	l.left[by] = counted
}

// append writes a record of what has happened already, also when the call's own time is over.
func (l *Log) append(ctx context.Context, r Record) (int64, error) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	return l.Sink.Append(bounded, r)
}

func (l *Log) record(kind Kind, call Call) Record {
	return Record{Time: l.Now(), Kind: kind, Who: call.Peer.Identity.String(),
		Serial: call.Peer.Serial(), Address: call.Peer.Address, Method: call.Method,
		RequestID: call.RequestID, Grant: call.Grant,
		Parameters: Parameters(call.Request, l.Key)}
}

func (r *Record) outcome(err error) {
	if r.Code = "OK"; err == nil {
		return
	}
	err = errs.FromStatus(err)
	r.Code = errs.KindOf(err).String()
	r.Reason = strings.TrimPrefix(errs.ReasonOf(err).String(), "REASON_")
	text := err.Error()
	r.Error = strings.ToValidUTF8(text[:min(len(text), mostError)], "")
}

func of[K comparable](buckets map[K]*bucket, who K) *bucket {
	if buckets[who] == nil {
		buckets[who] = &bucket{}
	}
	return buckets[who]
}
