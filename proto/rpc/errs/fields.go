package errs

import (
	"strings"

	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Fields collects what is wrong with a request, so that its caller hears all of it at once. The
// zero value is ready.
type Fields struct{ violations []FieldViolation }

// Require notes a violation of the field unless ok.
func (f *Fields) Require(field string, ok bool, why string) {
	if !ok {
		f.Add(field, why)
	}
}

// Add notes a violation of the field.
func (f *Fields) Add(field, why string) {
	f.violations = append(f.violations, FieldViolation{Field: field, Why: why})
}

// Err is nil when nothing was noted, else InvalidArgument with all violations in its message and
// its details.
func (f *Fields) Err() error {
	if len(f.violations) == 0 {
		return nil
	}
	said := make([]string, len(f.violations))
	for i, v := range f.violations {
		said[i] = v.Field + ": " + v.Why
	}
	e := New(InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
		"invalid request: "+strings.Join(said, "; "),
		WithHint("correct these fields, then retry"))
	e.fields = f.violations
	return e
}
