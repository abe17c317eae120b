package main

import (
	"encoding/json"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	"github.com/understudy-db/understudy/proto/visible"
)

// Formats for programs end on terminals as well: what a terminal obeys or hides is escaped, and the
// text is the same for a program.
func TestFormatsForProgramsHideNothing(t *testing.T) {
	t.Parallel()
	const text = "alice\u202egpj.exe\u009b31m\u200b\u3164\U000e0041\x7f"
	const lines = "one\n\ttwo\u202e"
	msg := &cpv1.Event{Text: text, Subject: lines}
	for _, format := range []string{"json", "yaml"} {
		for _, pretty := range []bool{true, false} {
			out, err := encode(msg, format, pretty)
			if err != nil {
				t.Fatal(err)
			}
			if strings.ContainsFunc(out, func(r rune) bool {
				return r != '\n' && visible.Hidden(r)
			}) {
				t.Errorf("%s: %q", format, out)
			}
			var got map[string]any
			if format == "json" {
				err = json.Unmarshal([]byte(out), &got)
			} else {
				err = yaml.Unmarshal([]byte(out), &got)
			}
			if err != nil || got["text"] != text || got["subject"] != lines {
				t.Errorf("%s: %q %q: %v", format, got["text"], got["subject"], err)
			}
		}
	}
}
