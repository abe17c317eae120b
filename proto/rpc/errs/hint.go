package errs

import (
	"maps"
	"slices"
	"strings"

	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Hint says what the caller can do about an error. Text is one imperative sentence that holds no
// command of the control plane's command line; the calls that do it are Actions. A host's own
// command ("systemctl unmask mariadb.service") may stand in the text.
type Hint struct {
	Text    string   `json:"text,omitempty"`
	Actions []Action `json:"actions,omitempty"`
}

// Action is a call that can be made as it stands: a method without its service, and the fields of
// its request by name.
type Action struct {
	Method string            `json:"method"`
	Args   map[string]string `json:"args,omitempty"`
}

// Call is the action of calling a method with these fields: Call("RetryJob", "name", "jobs/7").
// A field with an empty value is left out.
func Call(method string, fields ...string) Action {
	a := Action{Method: method}
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] == "" {
			continue
		}
		if a.Args == nil {
			a.Args = map[string]string{}
		}
		a.Args[fields[i]] = fields[i+1]
	}
	return a
}

// Empty reports whether there is nothing to advise.
func (h Hint) Empty() bool { return h.Text == "" && len(h.Actions) == 0 }

// String is the text with the calls behind it, as logs and gRPC clients show it:
// "retry the step (RetryJob name=jobs/7 step=mount_data)".
func (h Hint) String() string {
	calls := make([]string, len(h.Actions))
	for i, a := range h.Actions {
		calls[i] = a.String()
	}
	switch {
	case len(calls) == 0:
		return h.Text
	case h.Text == "":
		return strings.Join(calls, ", or ")
	}
	return h.Text + " (" + strings.Join(calls, ", or ") + ")"
}

// String is the method with its fields in order of their names.
func (a Action) String() string {
	var b strings.Builder
	b.WriteString(a.Method)
	for _, field := range slices.Sorted(maps.Keys(a.Args)) {
		b.WriteString(" " + field + "=" + a.Args[field])
	}
	return b.String()
}

// HintToProto is the hint as it travels; nil when it is empty.
func HintToProto(h Hint) *errorsv1.Hint {
	if h.Empty() {
		return nil
	}
	m := &errorsv1.Hint{Text: clean(h.Text)}
	for _, a := range h.Actions {
		args := make(map[string]string, len(a.Args))
		for field, value := range a.Args {
			args[clean(field)] = clean(value)
		}
		m.Actions = append(m.Actions, &errorsv1.Action{Method: clean(a.Method), Args: args})
	}
	return m
}

// HintFromProto is the hint that a message carries.
func HintFromProto(m *errorsv1.Hint) Hint {
	h := Hint{Text: m.GetText()}
	for _, a := range m.GetActions() {
		h.Actions = append(h.Actions, Action{Method: a.GetMethod(), Args: a.GetArgs()})
	}
	return h
}
