package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"
)

// A watch is told of a job at moments of its own: which of the passing lines there are depends on
// how fast the job goes, and so does whether a step tells first what it found or what it changed.
var (
	passing = regexp.MustCompile(`^15:04:05 [a-z_]+: (running$|running \(|waiting: |[0-9]+%|at )`)
	changed = regexp.MustCompile(`^15:04:05 [a-z_]+: changed: `)
	found   = regexp.MustCompile(`^15:04:05 [a-z_]+: found: `)
)

// replacement is what is another text in each run, and the text that stands in its place, of the
// same width.
type replacement struct {
	pattern *regexp.Regexp
	text    string
}

var ids = []replacement{
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}(-[0-9a-f]{4}){2}-[0-9a-f]{12}\b`),
		"01234567-89ab-cdef-0123-456789abcdef"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}\b`), "01234567-89ab"},
	{regexp.MustCompile(`\b(i|snap|task)-[0-9a-f]{12}\b`), "$1-0123456789ab"},
	{regexp.MustCompile(`\b[0-9a-f]{40}\b`), "0123456789abcdef0123456789abcdef01234567"},
	{regexp.MustCompile(`(etag"?: *"?)r\d+\b`), "${1}r1"},
}

var times = []replacement{
	{regexp.MustCompile(`20\d\d-\d\d-\d\dT[0-9:.]+Z`), "2026-01-02T15:04:05Z"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC`), "2026-01-02 15:04:05 UTC"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\d \d\d:\d\d UTC`), "2026-01-02 15:04 UTC"},
	{regexp.MustCompile(`(<|\b)\d+(\.\d+)?(ms|µs|s)\b`), "1s"},
}

// The width of a time moves the columns of a table, and there is none of what took no time.
var columns = []replacement{{regexp.MustCompile(`(\S) {2,}`), "$1  "},
	{regexp.MustCompile(`^( [✓✗] [a-z_]+)  1s  `), "$1  "}}

func replaced(line string, all ...replacement) string {
	for _, r := range all {
		line = r.pattern.ReplaceAllString(line, r.text)
	}
	return line
}

// scrubbed is output without what is another text in each run.
type scrubbed struct {
	to      io.Writer
	moving  []replacement
	rest    bytes.Buffer // the line that is not whole
	changed string       // what the step tells to have changed
}

// Write writes the lines that are whole.
func (s *scrubbed) Write(p []byte) (int, error) {
	s.rest.Write(p)
	for bytes.ContainsRune(s.rest.Bytes(), '\n') {
		line, err := s.rest.ReadString('\n')
		if err != nil {
			return 0, err
		}
		switch line = replaced(line, s.moving...); {
		case passing.MatchString(strings.TrimSuffix(line, "\n")):
			continue
		case changed.MatchString(line):
			s.changed += line
			continue
		case !found.MatchString(line):
			line, s.changed = s.changed+line, ""
		}
		if _, err := io.WriteString(s.to, line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (s *scrubbed) flush() {
	_, _ = io.WriteString(s.to, s.changed+replaced(s.rest.String(), s.moving...))
}
