package hostexec

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// ExitError says that a tool ended with an error.
type ExitError struct {
	// Tool is its name.
	Tool string
	// Code is its exit code; -1 when a signal ended it.
	Code int
	// Signal is the name of the signal that ended it, or "".
	Signal string
	// Output is the end of what it said, at most a few lines.
	Output string
}

// Error names the tool, its exit code and its last words.
func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit code %d", e.Code)
	if e.Signal != "" {
		how = "signal " + e.Signal
	}
	if e.Output == "" {
		return fmt.Sprintf("%s failed with %s", e.Tool, how)
	}
	return fmt.Sprintf("%s failed with %s: %s", e.Tool, how, e.Output)
}

// CodeOf is the exit code in err; false when err is not about an exit code.
func CodeOf(err error) (int, bool) {
	var exit *ExitError
	if !errors.As(err, &exit) {
		return 0, false
	}
	return exit.Code, true
}

// lastLines is the end of what the tool said, errors preferred, for an error's text.
func lastLines(result Result) string {
	const maxLines, maxBytes = 5, 1000
	said := bytes.TrimSpace(result.Stderr)
	if len(said) == 0 {
		said = bytes.TrimSpace(result.Stdout)
	}
	lines := strings.Split(string(said), "\n")
	if len(lines) > maxLines {
		lines = lines[len(lines)-maxLines:]
	}
	text := strings.Join(lines, " | ")
	if len(text) > maxBytes {
		text = text[len(text)-maxBytes:]
	}
	return strings.ToValidUTF8(text, "?")
}
