package refusals

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Said is a refusal as a run said it.
type Said struct {
	Reason string `json:"reason"`
	Text   string `json:"text"`
	Way    string `json:"way"`
}

const head = `# What can be refused

Every refusal says what is wrong and where, and how to get out. These are all of ` +
	`them, by the reason that programs may rely on: as a test met them, or, where it
says so, with words in braces for what is known only when it happens. ` + "`make errors`" +
	` writes this page; a test compares it with the source.

`

// Page is docs/errors.md.
func Page(root string, all []Refusal, said []Said) (string, error) {
	described, err := documentation(root)
	if err != nil {
		return "", err
	}
	var page bytes.Buffer
	page.WriteString(head)
	for _, reason := range Reasons() {
		fmt.Fprintf(&page, "## %s\n\n%s\n\n", reason, described[reason])
		var lines []string
		for _, r := range all {
			if r.Reason == reason {
				lines = append(lines, r.line(said))
			}
		}
		slices.Sort(lines)
		for _, line := range slices.Compact(lines) {
			page.WriteString(line)
		}
		if len(lines) == 0 {
			page.WriteString(spokenElsewhere(reason, said))
		}
		page.WriteString("\n")
	}
	return strings.TrimRight(page.String(), "\n") + "\n", nil
}

// elsewhere are reasons whose errors are made by the machinery below the product, and what it says.
var elsewhere = map[string]string{
	"ACTION_REQUIRED": "what the step says of itself, for example: the data differ\n  *Hint:* " +
		"decide: retry, skip or redo the step, or cancel the job",
	"TIMEOUT": "context deadline exceeded\n  *Hint:* ask again with a longer " +
		"`--timeout`; what was begun goes on, `understudy job list` shows it.",
	"UNIMPLEMENTED": "unknown method {method} for service {service}\n  *Hint:* bring " +
		"both sides to the same version; `understudy version` shows them.",
}

// spokenElsewhere is the text of a reason that no place of the source gives in one piece.
func spokenElsewhere(reason string, said []Said) string {
	for _, s := range said {
		if _, fixed := elsewhere[reason]; !fixed && s.Reason == reason {
			return Refusal{Reason: reason, Text: "{text}"}.line([]Said{s})
		}
	}
	return "- " + elsewhere[reason] + "\n"
}

func (r Refusal) line(said []Said) string {
	text, way, note := clean(r.Text), clean(r.Way), " *(as written)*"
	if met, ok := r.met(said); ok {
		text, note = met.Text, ""
		if met.Way != "" {
			way = met.Way
		}
	}
	out := "- " + escape(text) + note + "\n"
	if way != "" {
		out += "  *Hint:* " + escape(way) + "\n"
	}
	return out
}

// met is the first text of a run that this place can have said. A place whose text is made
// elsewhere is known by its hint.
func (r Refusal) met(said []Said) (Said, bool) {
	pattern := r.pattern()
	nameless := r.Way != "" && strings.TrimSpace(placeholder.ReplaceAllString(r.Text, "")) == ""
	for _, s := range said {
		if s.Reason == r.Reason && pattern.MatchString(s.Text) &&
			(!nameless || s.Way != "" && slices.Contains(strings.Split(r.Way, " / "), s.Way)) {
			return s, true
		}
	}
	return Said{}, false
}

func (r Refusal) pattern() *regexp.Regexp {
	var b strings.Builder
	at := 0
	for _, hole := range placeholder.FindAllStringIndex(r.Text, -1) {
		b.WriteString(regexp.QuoteMeta(r.Text[at:hole[0]]) + "(?s:.*)")
		at = hole[1]
	}
	return regexp.MustCompile("^" + b.String() + regexp.QuoteMeta(r.Text[at:]) + "$")
}

func clean(text string) string { return strings.TrimPrefix(text, ": ") }

func escape(text string) string {
	return strings.NewReplacer("\n", "\n  ", "<", "&lt;", "*",
		"\\*").Replace(strings.TrimSpace(text))
}

// Reasons are all reasons that an error can carry, in the order of their numbers.
func Reasons() []string {
	var numbers []int32
	for n := range errorsv1.Reason_name {
		if n != 0 {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, cmp.Compare[int32])
	all := make([]string, len(numbers))
	for i, n := range numbers {
		all[i] = strings.TrimPrefix(errorsv1.Reason_name[n], "REASON_")
	}
	return all
}

var documented = regexp.MustCompile(`(?m)^  // (.*)\n  REASON_(\w+) = `)

// documentation is what the contract says of each reason.
func documentation(root string) (map[string]string, error) {
	contract, err := os.ReadFile(filepath.Join(root, "proto/understudy/errors/v1/reason.proto"))
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, m := range documented.FindAllStringSubmatch(string(contract), -1) {
		all[m[2]] = m[1]
	}
	return all, nil
}
