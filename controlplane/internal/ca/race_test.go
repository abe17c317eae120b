package ca_test

import (
	"context"
	"crypto"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
)

// startsAtOnce opens the authority of a folder several times at once, each by a configuration of
// its own, and wants one root that all of them have, and the next start too.
func startsAtOnce(t *testing.T, dir string, configs ...func(*ca.AuthorityConfig)) {
	t.Helper()
	open := func(change func(*ca.AuthorityConfig)) (string, error) {
		config := ca.AuthorityConfig{Dir: dir, Logger: quiet()}
		change(&config)
		a, err := ca.OpenAuthority(t.Context(), config)
		if err != nil {
			return "", err
		}
		return a.Pin(), nil
	}
	pins, faults := make([]string, len(configs)), make([]error, len(configs))
	var starts sync.WaitGroup
	for i, change := range configs {
		starts.Go(func() { pins[i], faults[i] = open(change) })
	}
	starts.Wait()
	next, err := open(configs[0])
	for i := range configs {
		if faults[i] != nil || err != nil || pins[i] != next {
			t.Fatalf("start %d: %v, pin %q; the next start: %v, %q", i, faults[i], pins[i], err,
				next)
		}
	}
}

const races = 100

// One root is made by first starts at once, whose key an interrupted one has left half done.
func TestFirstStartsRaceForOneRoot(t *testing.T) {
	t.Parallel()
	left := newHSM(t)
	inDir := func(*ca.AuthorityConfig) {}
	for range races {
		dir := t.TempDir()
		// The public part of a key elsewhere, without a root.
		failing := ca.AuthorityConfig{Dir: dir, Logger: quiet(), NewKey: ca.KeyInSigner,
			Signer: left, Claim: func(context.Context, string) error { return os.ErrClosed }}
		if _, err := ca.OpenAuthority(t.Context(), failing); err == nil {
			t.Fatal("a root is made that could not be claimed")
		}
		if _, err := os.Stat(filepath.Join(dir, "ca.pem")); err == nil {
			t.Fatal("a root is in the folder that could not be claimed")
		}
		startsAtOnce(t, dir, inDir, inDir, inDir, inDir)
	}
}

// anyOf is a signer that makes a key whenever it is asked for one, and signs with each.
type anyOf struct {
	*hsm
	t *testing.T
}

func (a anyOf) Public(ctx context.Context) (crypto.PublicKey, error) {
	a.set(func() { a.keys = append(a.keys, newKey(a.t)) })
	return a.hsm.Public(ctx)
}

// Of several signers' keys the first one counts: none takes the place of another.
func TestFirstStartsRaceWithSeveralKeys(t *testing.T) {
	t.Parallel()
	for range races / 4 {
		signer := anyOf{hsm: newHSM(t), t: t}
		in := inSigner(signer)
		startsAtOnce(t, t.TempDir(), in, in, in, in)
	}
}

// A start while another process makes a successor leaves the key of that alone.
func TestAStartDuringAStepLeavesItsKey(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	ended := make(chan struct{})
	var starts sync.WaitGroup
	for range 3 {
		starts.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if _, err := ca.OpenAuthority(t.Context(), e.authority()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range races / 4 {
		for _, back := range []bool{false, true} {
			if _, err := e.rotate(back); err != nil {
				t.Error(err)
			}
		}
	}
	close(ended)
	starts.Wait()
}
