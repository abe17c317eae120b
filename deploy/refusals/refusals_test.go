package refusals

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	root   = "../.."
	page   = root + "/docs/errors.md"
	golden = "testdata/said.jsonl"
)

var (
	update = flag.Bool("update", false, "write docs/errors.md anew")
	record = flag.String("record", "", "a file of what tests met, to take texts from")
)

func scanned(t *testing.T) []Refusal {
	t.Helper()
	all, err := Scan(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 300 {
		t.Fatalf("the scan finds %d refusals: it has lost its way", len(all))
	}
	return all
}

// TestPage compares all texts with the committed ones.
func TestPage(t *testing.T) {
	all := scanned(t)
	if *record != "" {
		write(t, kept(t, all, append(read(t, golden), read(t, *record)...)))
	}
	said := read(t, golden)
	want, err := Page(root, all, said)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/errors.md is not what the product says: read the texts that changed, then "+
			"run `make errors`\n%s", firstDifference(string(got), want))
	}
	for _, s := range said {
		if !fits(all, s) {
			t.Errorf("nothing says %q any more: run `make errors`", s.Text)
		}
	}
}

// fits reports whether a place of the source can have said it, or none gives its reason in one
// piece.
func fits(all []Refusal, s Said) bool {
	var given bool
	for _, r := range all {
		if r.Reason == s.Reason && r.pattern().MatchString(s.Text) {
			return true
		}
		given = given || r.Reason == s.Reason
	}
	return !given
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "page:    " + a[i] + "\nproduct: " + b[i]
		}
	}
	return "one is longer than the other"
}

// TestEveryReasonIsSaid finds reasons of the contract that nothing gives.
func TestEveryReasonIsSaid(t *testing.T) {
	all, said := scanned(t), read(t, golden)
	for _, reason := range Reasons() {
		_, other := elsewhere[reason]
		met := slices.ContainsFunc(said, func(s Said) bool { return s.Reason == reason })
		if !other && !met &&
			!slices.ContainsFunc(all, func(r Refusal) bool { return r.Reason == reason }) {
			t.Errorf("nothing is refused with %s", reason)
		}
	}
}

// TestEveryRefusalHasAHint reads each of them as a person does who was woken by it.
func TestEveryRefusalHasAHint(t *testing.T) {
	for _, r := range scanned(t) {
		if way := placeholder.ReplaceAllString(r.Way, "x"); strings.TrimSpace(way) == "" {
			t.Errorf("%s: %s %q has no hint", r.Package, r.Reason, r.Text)
		}
		if unhelpful.MatchString(r.Way) {
			t.Errorf("%s: %q sends nowhere: %q", r.Package, r.Text, r.Way)
		}
	}
}

// unhelpful are ways out that are known to lead nowhere: a name is never used again, also when its
// holder is deleted.
var unhelpful = regexp.MustCompile(`or delete it first`)

func read(t *testing.T, name string) []Said {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []Said
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s Said
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// kept is one text for each refusal, the one that is committed already where it still fits.
func kept(t *testing.T, all []Refusal, said []Said) []Said {
	t.Helper()
	var keep []Said
	slices.SortStableFunc(all,
		func(a, b Refusal) int { return strings.Compare(a.Reason+a.Text, b.Reason+b.Text) })
	said = slices.DeleteFunc(said, func(s Said) bool { return private.MatchString(s.Text + s.Way) })
	for _, r := range all {
		if s, ok := r.met(said); ok && !slices.Contains(keep, s) {
			keep = append(keep, s)
		}
	}
	for _, s := range said {
		given := slices.ContainsFunc(slices.Concat(all, asRefusals(keep)),
			func(r Refusal) bool { return r.Reason == s.Reason })
		if _, fixed := elsewhere[s.Reason]; !given && !fixed &&
			slices.Contains(Reasons(), s.Reason) {
			keep = append(keep, s)
		}
	}
	return keep
}

func asRefusals(said []Said) []Refusal {
	var all []Refusal
	for _, s := range said {
		all = append(all, Refusal{Reason: s.Reason})
	}
	return all
}

// private are the places of the machine on which a test ran, and texts too long to be read.
var private = regexp.MustCompile(`/tmp/|/var/tmp|/root|/home/|/work/|\x00|(?s:.{700})`)

func write(t *testing.T, all []Said) {
	t.Helper()
	var b strings.Builder
	for _, s := range all {
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
