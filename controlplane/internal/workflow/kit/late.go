package kit

import (
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// NotShownYet is the wait for what was made at that time and is not found, for as long as the
// provider may not show it; nil: the error says the truth.
func NotShownYet(c *Call, err error, id string, made time.Time) error {
	late, is := c.Provider.(provider.Late)
	if !is || !Missing(err) || made.IsZero() {
		return nil
	}
	within := late.ShowsWithin()
	if age := c.Now().Sub(made); age <= within {
		return Wait("the provider does not show %s, which may be as it is new: waiting until "+
			"%s after it was made", id, within)
	}
	return nil
}

// Removed is the error of a removal of what was made at that time: none when it is gone already.
func Removed(c *Call, err error, id string, made time.Time) error {
	if wait := NotShownYet(c, err, id, made); wait != nil {
		return wait
	}
	if Missing(err) {
		return nil
	}
	return err
}
