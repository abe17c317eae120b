// Package enroll gets the agent its identity, once, with a join token or by what EC2 signs about
// the machine, and keeps it good: it makes the keys, asks the control plane for certificates,
// renews them in time, and hands MariaDB's on.
package enroll

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// joinHint says how the host gets a join file.
func (e *Enroller) joinHint() errs.Option {
	return errs.WithHint("write a new join token of the control plane to "+e.config.JoinFile+
		" on this host", errs.Call("CreateJoinToken"))
}

// Config is what an Enroller needs. StateDir and JoinFile have no default.
type Config struct {
	// StateDir is the agent's state directory; keys and certificates are in `identity` below it.
	StateDir string
	// JoinFile is where a join file may be; it is removed once it was used.
	JoinFile string
	// Metadata is the address of the metadata service of an EC2 instance; Metadata of this package
	// when empty.
	Metadata string
	// Changed is called whenever other certificates are in place, so that MariaDB's can be
	// installed; Run calls it again until it answers nil. May be nil.
	Changed func(ctx context.Context) error
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Logger is the default logger when nil.
	Logger *slog.Logger
}

// Enroller owns the agent's identity.
type Enroller struct {
	config Config
	slots  slots
	// renewing has room for one that makes a new identity: there is one slot for that. An enrolment
	// may go on for ever, so others wait with their context.
	renewing chan struct{}
	// changing serialises what replaces the identity in use, or what is known with it.
	changing sync.Mutex
	pending  atomic.Bool // the hook has not taken the newest certificates yet
	late     lateness
}

// New makes an Enroller; nothing is read or written yet.
func New(config Config) (*Enroller, error) {
	if config.StateDir == "" || config.JoinFile == "" {
		return nil, errors.New("cannot enrol: state directory and join file must be named")
	}
	if config.Metadata == "" {
		config.Metadata = Metadata
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Changed == nil {
		config.Changed = func(context.Context) error { return nil }
	}
	return &Enroller{config: config, slots: slots{dir: filepath.Join(config.StateDir, "identity")},
		renewing: make(chan struct{}, 1)}, nil
}

// Files are the agent's own identity, for identity.NewFiles; the paths stay the same for ever.
func (e *Enroller) Files() identity.FilesConfig {
	files := e.slots.current().files()
	files.Logger = e.config.Logger
	return files
}

// MariaDBFiles are MariaDB's certificate, its key (0600, root) and the CA. They are to be copied to
// where MariaDB can read them.
func (e *Enroller) MariaDBFiles() identity.FilesConfig { return e.slots.current().mariadbFiles() }

// Ensure returns the name of the server that this host is, once it has an identity that is good
// now. A new join file is used, one that was used already is removed. It retries until the control
// plane answers; its refusal is an error with a hint, unless the host has a good identity. One that
// has expired is renewed, where no join file replaces it.
func (e *Enroller) Ensure(ctx context.Context) (string, error) {
	have, haveErr := e.slots.current().load(e.config.Now())
	join, joinErr := e.readJoinFile()
	var shown proof
	if joinErr == nil {
		shown, joinErr = e.prove(ctx, join)
	}
	if joinErr == nil && haveErr == nil && have.used(shown) {
		e.removeJoinFile()
		return have.Server, nil
	}
	if joinErr == nil {
		server, err := e.join(ctx, join, shown)
		if err == nil || ctx.Err() != nil || haveErr != nil && !hasExpired(haveErr) {
			return server, err
		}
		joinErr = err
	}
	if haveErr != nil {
		have, haveErr = e.revived(ctx, haveErr)
	}
	switch {
	case haveErr != nil:
		return "", e.noIdentity(ctx, haveErr, joinErr)
	case !errors.Is(joinErr, fs.ErrNotExist):
		e.config.Logger.Warn("cannot use the join file; the identity in use stays",
			"error", joinErr, "hint", errs.HintOf(joinErr).String())
	}
	return have.Server, nil
}

// revived is the identity in use after it was found to be no good.
func (e *Enroller) revived(ctx context.Context, found error) (loaded, error) {
	if !hasExpired(found) {
		return loaded{}, found
	}
	if err := e.beginRenewing(ctx); err != nil {
		return loaded{}, err
	}
	defer e.endRenewing()
	have, _, err := e.revive(ctx)
	return have, err
}

// noIdentity says why the host has no identity. What says itself what helps keeps its hint.
func (e *Enroller) noIdentity(ctx context.Context, haveErr, joinErr error) error {
	if err := e.clockOf(ctx, haveErr); err != nil {
		return fmt.Errorf("cannot identify this host: %w", err)
	}
	noFile := joinErr == nil || errors.Is(joinErr, fs.ErrNotExist)
	if noFile && !errs.HintOf(haveErr).Empty() {
		return fmt.Errorf("cannot identify this host: %w", haveErr)
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNAUTHENTICATED,
		fmt.Sprintf("cannot identify this host: %v", haveErr), errs.Wrap(joinErr),
		e.joinHint())
}

func (e *Enroller) readJoinFile() (identity.JoinFile, error) {
	data, err := os.ReadFile(e.config.JoinFile)
	if err != nil {
		return identity.JoinFile{}, err
	}
	file, err := identity.ParseJoinFile(data)
	if err != nil {
		return identity.JoinFile{},
			errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_TOKEN_INVALID,
				"cannot use "+e.config.JoinFile, errs.Wrap(err),
				e.joinHint())
	}
	return file, nil
}

// removeJoinFile takes the spent secret away. Where that fails, it is still spent, and tried again
// at the next start.
func (e *Enroller) removeJoinFile() {
	if err := os.Remove(e.config.JoinFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.config.Logger.Warn("cannot remove the used join file", "error", err)
	}
}

// Current is whose identity the host has and until when; an error says why it is of no use now.
// Without any the name is empty.
func (e *Enroller) Current() (server string, until time.Time, err error) {
	m, err := e.slots.current().meta()
	if err != nil {
		return "", time.Time{}, err
	}
	have, err := e.slots.current().load(e.config.Now())
	if err != nil {
		return m.Server, time.Time{}, err
	}
	return have.Server, have.cert.NotAfter, nil
}

// SetControlPlane sets where the host renews its identity from now on, and says whether that is
// new. It is on disk before it returns.
func (e *Enroller) SetControlPlane(addresses []string) (changed bool, err error) {
	e.changing.Lock()
	defer e.changing.Unlock()
	m, err := e.slots.current().meta()
	if err == nil && slices.Equal(m.ControlPlane, addresses) {
		return false, nil
	}
	if err == nil {
		m.ControlPlane = slices.Clone(addresses)
		err = e.slots.current().keepMeta(m)
	}
	if err != nil {
		return false, fmt.Errorf("cannot keep the control plane's addresses: %w", err)
	}
	e.config.Logger.Info("the control plane has other addresses", "addresses", addresses)
	return true, nil
}

// use puts the slot to use, with the addresses that were learnt while it was prepared.
func (e *Enroller) use(s slot) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	now, err := e.slots.current().meta()
	next, nextErr := s.meta()
	if err == nil && nextErr == nil && now.Server == next.Server && now.Token == next.Token &&
		!slices.Equal(now.ControlPlane, next.ControlPlane) {
		next.ControlPlane = now.ControlPlane
		if err := s.keepMeta(next); err != nil {
			return err
		}
	}
	return e.slots.use(s)
}

// ControlPlane is where the host renews its identity, and the pin of the CA that it came from.
func (e *Enroller) ControlPlane() (addresses []string, pin string, err error) {
	m, err := e.slots.current().meta()
	if err != nil {
		return nil, "", err
	}
	ca, err := identity.ReadCertificate(e.Files().CA)
	if err != nil {
		return nil, "", err
	}
	return m.ControlPlane, identity.Pin(ca), nil
}

// Join gets an identity with a join file that is not on this host's disk; refused or interrupted,
// it can be called again.
func (e *Enroller) Join(ctx context.Context, file identity.JoinFile) error {
	shown, err := e.prove(ctx, file)
	if err == nil {
		_, err = e.join(ctx, file, shown)
	}
	return err
}

// join turns a join file into an identity. After any interruption the next call continues with the
// same keys, so that the proof still counts.
func (e *Enroller) join(ctx context.Context, file identity.JoinFile, shown proof) (string, error) {
	if err := e.beginRenewing(ctx); err != nil {
		return "", fmt.Errorf("cannot enrol as %s: %w", file.Server, err)
	}
	defer e.endRenewing()
	meta := meta{Purpose: "join:" + shown.id, Server: file.Server,
		ControlPlane: file.ControlPlane, Token: shown.id}
	slot, err := e.slots.prepare(meta)
	if err != nil {
		return "", fmt.Errorf("cannot enrol as %s: %w", file.Server, err)
	}
	if _, err := slot.load(e.config.Now()); err != nil {
		if err := e.enroll(ctx, file, shown, slot); err != nil {
			return "", fmt.Errorf("cannot enrol as %s: %w", file.Server, err)
		}
	}
	if err := e.use(slot); err != nil {
		return "", fmt.Errorf("cannot enrol as %s: %w", file.Server, err)
	}
	e.pending.Store(true)
	e.config.Logger.Info("enrolled", "server", file.Server)
	e.removeJoinFile()
	e.notify(ctx)
	return file.Server, nil
}

// notify calls the hook until it took the newest certificates once.
func (e *Enroller) notify(ctx context.Context) {
	if !e.pending.Load() {
		return
	}
	if err := e.config.Changed(ctx); err != nil {
		e.config.Logger.Warn("cannot pass the new certificates on yet", "error", err)
		return
	}
	e.pending.Store(false)
}
