package workflowtest

import (
	"testing"
	"testing/synctest"

	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// Bubble runs a test in parallel to others, on a clock of its own that moves on when everything in
// the test waits.
func Bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	if _, err := storetest.Empty(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, test)
}

// Bubbles is Bubble for one case of several.
func Bubbles(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { Bubble(t, test) })
}
