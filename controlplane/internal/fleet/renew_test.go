package fleet_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/fleet"
)

// All that lag are asked, whoever does not answer; that they cannot be known is an error.
func TestLaggardsAreAskedToRenew(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	var unknown error
	renewer := fleet.NewRenewer(fleet.RenewerConfig{Log: slog.New(slog.DiscardHandler),
		Lagging: func(context.Context) ([]string, error) {
			return []string{"db1", "db2", "db3"}, unknown
		},
		Renew: func(_ context.Context, server string) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, server)
			if server == "db1" {
				return errors.New("away")
			}
			return nil
		}})
	if err := renewer.Round(t.Context()); err != nil {
		t.Error(err)
	}
	if slices.Sort(asked); !slices.Equal(asked, []string{"db1", "db2", "db3"}) {
		t.Errorf("asked %v", asked)
	}
	unknown = errors.New("no store")
	if err := renewer.Round(t.Context()); !errors.Is(err, unknown) {
		t.Error(err)
	}
}

// A server that was asked and still lags is asked less and less often, and at once again when it
// lags anew.
func TestALaggardIsLeftAloneLongerEachTime(t *testing.T) {
	t.Parallel()
	lagging, round := []string{"db1"}, 0
	var asked []int
	renewer := fleet.NewRenewer(fleet.RenewerConfig{Log: slog.New(slog.DiscardHandler),
		Lagging: func(context.Context) ([]string, error) { return lagging, nil },
		Renew:   func(context.Context, string) error { asked = append(asked, round); return nil }})
	next := func() {
		round++
		if err := renewer.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 130 {
		next()
	}
	if want := []int{1, 2, 4, 8, 16, 32, 64, 96, 128}; !slices.Equal(asked, want) {
		t.Errorf("asked in %v, want %v", asked, want)
	}
	lagging = nil
	next()
	lagging, asked = []string{"db1"}, nil
	next()
	if len(asked) != 1 {
		t.Errorf("lags anew, and is asked in %v", asked)
	}
}
