package ca

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// startsWait is how long a start waits for another process that works on the folder: longer
	// than a step that a signer signs.
	startsWait = 3 * time.Minute
	// stepsWait is how long a step waits for a start.
	stepsWait = 5 * time.Second
	// waitsLook is how often either looks.
	waitsLook = 20 * time.Millisecond
)

// folder is that of an authority.
type folder string

// lock keeps other processes from changing the folder. Release it.
func (f folder) lock() (release func(), err error) {
	dir, err := os.Open(string(f))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process works on %s: %w", f, err),
			dir.Close())
	}
	return func() {
		// A program of the operator's that starts at this moment has the folder open until it runs.
		_ = unix.Flock(int(dir.Fd()), unix.LOCK_UN)
		_ = dir.Close()
	}, nil
}

// await is lock, after whoever has it, for so long at most. A start that read in the middle of what
// another one writes would take its half for what a killed one left, and put its own key in its
// place.
func (f folder) await(ctx context.Context, limit time.Duration) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		release, err = f.lock()
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(waitsLook):
		}
	}
}
