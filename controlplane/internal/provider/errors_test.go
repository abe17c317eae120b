package provider

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"
)

func TestErrorShowsKindAndCause(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("swap failed: %w", Errorf(ErrInUse, "vol-1", "volume vol-1 is held: %w",
		fs.ErrPermission))
	if !errors.Is(err, ErrInUse) || !errors.Is(err, fs.ErrPermission) ||
		errors.Is(err, ErrNotFound) {
		t.Errorf("kinds of %v are wrong", err)
	}
	if err.Error() != "swap failed: volume vol-1 is held: permission denied" {
		t.Errorf("message is %q", err)
	}
}

func TestDetailsAreFoundThroughWrapping(t *testing.T) {
	t.Parallel()
	inUse, throttled := InUse("vol-1", "i-1", "in use"), Throttled(nil, time.Second, "slow down")
	if got := HeldBy(fmt.Errorf("x: %w", inUse)); got != "i-1" {
		t.Errorf("held by %q", got)
	}
	if after, ok := RetryAfter(fmt.Errorf("x: %w", throttled)); !ok || after != time.Second {
		t.Errorf("retry after %s, %v", after, ok)
	}
	if _, ok := RetryAfter(inUse); ok || HeldBy(errors.New("x")) != "" {
		t.Error("details of errors that have none")
	}
}

func TestFilterWantsEveryTag(t *testing.T) {
	t.Parallel()
	tags := map[string]string{"a": "1", "b": ""}
	for _, c := range []struct {
		filter map[string]string
		want   bool
	}{{nil, true}, {map[string]string{"a": "1"}, true},
		{map[string]string{"a": "1", "b": ""}, true},
		{map[string]string{"a": "2"}, false}, {map[string]string{"a": "1", "c": ""}, false}} {
		if got := (Filter{Tags: c.filter}).Matches(tags); got != c.want {
			t.Errorf("%v matches: %v", c.filter, got)
		}
	}
}
