package wire

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/proto/rpc/enum"
)

var actionPattern = regexp.MustCompile(`^[a-z]{1,32}\.[a-z_]{1,32}$`)

const (
	maxText   = 200
	maxValues = 50
)

// Text is the text that a list is narrowed by, or empty.
func (c *Check) Text(field, text string) string {
	c.Require(field, len(text) <= maxText, fmt.Sprintf("must be at most %d bytes", maxText))
	return text
}

// Action is the action that events are narrowed to, or empty.
func (c *Check) Action(field, action string) string {
	c.Require(field, action == "" || actionPattern.MatchString(action),
		"must be the action of an event, for example job.create")
	return action
}

// Range is the time that a list is narrowed to: from after on and before before. A zero time does
// not narrow.
type Range struct{ After, Before time.Time }

// Range reads a range of time.
func (c *Check) Range(prefix string, after, before *timestamppb.Timestamp) (r Range) {
	for name, t := range map[string]*timestamppb.Timestamp{"after": after, "before": before} {
		c.Require(prefix+name, t == nil || t.IsValid(), "must be a valid time")
	}
	if after != nil {
		r.After = after.AsTime()
	}
	if before != nil {
		r.Before = before.AsTime()
	}
	return r
}

// Enums checks the values that a list is narrowed by.
func Enums[E enum.Enum](c *Check, field string, values []E) []E {
	c.Require(field, len(values) <= maxValues, fmt.Sprintf("must be at most %d values", maxValues))
	for i, v := range values {
		Enum(c, fmt.Sprintf("%s[%d]", field, i), v, true)
	}
	return values
}

// Enum checks a value that must be known; unspecified is wrong only when it is required.
func Enum[E enum.Enum](c *Check, field string, value E, required bool) {
	c.Require(field, value == 0 && !required || enum.Word(value) != "",
		"must be one of "+strings.ToUpper(strings.Join(enum.Words[E](), ", ")))
}
