package trail

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/audit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

func open(t *testing.T, dir string) *Trail {
	t.Helper()
	log, err := Open(dir, "db1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func add(t *testing.T, log *Trail, n int, text string) {
	t.Helper()
	for range n {
		if _, err := log.Append(t.Context(), audit.Record{Kind: audit.Begin,
			Error: text}); err != nil {
			t.Fatal(err)
		}
	}
}

// fetch takes all that there is, and verifies it.
func fetch(t *testing.T, log *Trail, kept audit.Head) (lines []string, head audit.Head) {
	t.Helper()
	head = kept
	for {
		batch, err := log.Fetch(log.chain, head)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch.Lines) == 0 {
			if batch.Head != head {
				t.Errorf("ends at %v, the head is %v", head, batch.Head)
			}
			return lines, head
		}
		lines = append(lines, batch.Lines...)
		if head, err = headOf([]byte(lines[len(lines)-1])); err != nil {
			t.Fatal(err)
		}
	}
}

func problems(t *testing.T, chain string, lines []string) []audit.Problem {
	t.Helper()
	v := audit.NewVerifier(chain)
	for _, text := range lines {
		var line audit.Line
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			line.Record = json.RawMessage(text)
		}
		v.Add(line)
	}
	return v.Finish().Problems
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestRecordsStayUntilTheyAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := open(t, dir)
	const wide = 1 << 15
	var all []string
	var kept audit.Head
	for range 3 {
		add(t, log, 56, strings.Repeat("x", wide))
		var lines []string
		if lines, kept = fetch(t, log, kept); len(lines) != 56 {
			t.Errorf("fetched %d", len(lines))
		}
		all = append(all, lines...)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		log = open(t, dir)
	}
	if found := problems(t, log.chain, all); len(all) != 168 || len(found) > 0 {
		t.Errorf("%d records, %v", len(all), found)
	}
	if n := len(files(t, dir)); n != 1 || log.total > 2<<20 {
		t.Errorf("%d files, %d bytes are left", n, log.total)
	}
	for _, name := range append(files(t, dir), filepath.Join(dir, chainFile)) {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	before := log.acked
	if batch, err := log.Fetch("servers/db1/other", audit.Head{Seq: 99}); err != nil ||
		log.acked != before || len(batch.Lines) != 0 {
		t.Errorf("acknowledged for another chain: %v, %v", log.acked, err)
	}
}

// A crash leaves any part of a record. It is taken away, and the chain goes on.
func TestACrashInTheMiddleOfARecord(t *testing.T) {
	t.Parallel()
	for cut := range 200 {
		dir := t.TempDir()
		log := open(t, dir)
		add(t, log, 2, "whole")
		add(t, log, 1, "torn")
		log.Close()
		name := files(t, dir)[0]
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		last := strings.LastIndex(strings.TrimSuffix(string(text), "\n"), "\n") + 1
		if last+cut >= len(text) {
			break
		}
		if err := os.WriteFile(name, text[:last+cut], 0o600); err != nil {
			t.Fatal(err)
		}
		log = open(t, dir)
		add(t, log, 1, "after")
		lines, _ := fetch(t, log, audit.Head{})
		if found := problems(t, log.chain, lines); len(found) > 0 || len(lines) != 3 {
			t.Fatalf("cut at %d: %d records, %v", cut, len(lines), found)
		}
	}
}

// A crash after a file was begun and before its first record, in the first file and in a later one.
func TestACrashBeforeTheFirstRecordOfAFile(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 3} {
		dir := t.TempDir()
		log := open(t, dir)
		add(t, log, n, "x")
		log.Close()
		if err := os.WriteFile(filepath.Join(dir, segmentOf(int64(n+1))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		log = open(t, dir)
		add(t, log, 2, "y")
		lines, _ := fetch(t, log, audit.Head{})
		if found := problems(t, log.chain, lines); len(found) > 0 || len(lines) != n+2 {
			t.Errorf("%d records, %v", len(lines), found)
		}
	}
}

func TestWhatRootDoesToTheFile(t *testing.T) {
	t.Parallel()
	for want, attack := range map[string]func(lines []string) []string{
		"it was changed": func(l []string) []string {
			l[3] = strings.Replace(l[3], "text", "lies", 1)
			return l
		},
		"are missing": func(l []string) []string { return slices.Delete(l, 3, 4) },
		"are missing ": func(l []string) []string {
			l[3], l[4] = l[4], l[3]
			return l
		},
		"does not follow": func(l []string) []string { return l[:4] },
		"cannot be read":  func(l []string) []string { l[3] = "{\xff"; return l },
	} {
		dir := t.TempDir()
		log := open(t, dir)
		add(t, log, 6, "text")
		name := files(t, dir)[0]
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := attack(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
		// in place, while the agent runs
		if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		add(t, log, 2, "more")
		batch, err := log.Fetch(log.chain, audit.Head{})
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(want, "does not follow") {
			want = "are missing"
		}
		if got := fmt.Sprint(problems(t, log.chain, batch.Lines)); !strings.Contains(got,
			strings.TrimSpace(want)) {
			t.Errorf("found %s, want %q", got, want)
		}
	}
}

// What the control plane keeps counts, when the host has lost it.
func TestRecordsThatTheHostLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := open(t, dir)
	add(t, log, 5, "x")
	lines, kept := fetch(t, log, audit.Head{})
	log.Close()
	for _, name := range files(t, dir) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	log = open(t, dir)
	add(t, log, 2, "y")
	more, _ := fetch(t, log, kept)
	if found := problems(t, log.chain, append(lines, more...)); len(found) > 0 || len(more) != 2 {
		t.Errorf("%d more, %v", len(more), found)
	}
}

func TestTooMuchIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := open(t, dir)
	log.most = 3 << 20
	add(t, log, 64, strings.Repeat("x", 48<<10))
	if _, err := log.Append(t.Context(), audit.Record{}); err == nil ||
		!strings.Contains(err.Error(), "3 MiB of records wait") {
		t.Errorf("%v", err)
	}
	fetch(t, log, audit.Head{})
	if _, err := log.Append(t.Context(), audit.Record{}); err != nil {
		t.Errorf("once they are kept: %v", err)
	}
}

// Files stay until the control plane has what is in them.
func TestOnlyItsOwnRecordsAreAcknowledged(t *testing.T) {
	t.Parallel()
	for _, seq := range []int64{10, 70, 80} { // in the first file, a later one, the newest record
		dir := t.TempDir()
		log := open(t, dir)
		add(t, log, 80, strings.Repeat("x", 1<<15))
		before := len(files(t, dir))
		batch, err := log.Fetch(log.chain, audit.Head{Seq: seq, Hash: "other"})
		if err != nil || log.acked.Seq != 0 || len(files(t, dir)) != before || before < 3 ||
			seq < 80 == (len(batch.Lines) == 0) {
			t.Errorf("%d: acknowledged %v, %d of %d files, %v", seq, log.acked,
				len(files(t, dir)), before, err)
		}
		_, kept := fetch(t, log, audit.Head{})
		if log.acked != kept || len(files(t, dir)) != 1 {
			t.Errorf("%d: acknowledged %v of %v", seq, log.acked, kept)
		}
	}
}

// An answer has as many lines as the control plane takes.
func TestManyShortRecords(t *testing.T) {
	t.Parallel()
	log := open(t, t.TempDir())
	add(t, log, 1100, "")
	batch, err := log.Fetch(log.chain, audit.Head{})
	if lines, _ := fetch(t, log, audit.Head{}); err != nil || len(batch.Lines) != 1000 ||
		len(lines) != 1100 {
		t.Errorf("%d at once, %d in all, %v", len(batch.Lines), len(lines), err)
	}
}

// Whoever is refused, and whoever else may call, fills half of it.
func TestOthersLeaveRoomForTheControlPlane(t *testing.T) {
	t.Parallel()
	log := open(t, t.TempDir())
	log.most = 4 << 20
	from := func(who identity.Identity) audit.Record {
		return audit.Record{Kind: audit.Refused, Who: who.String(),
			Error: strings.Repeat("x", 1<<19)}
	}
	var err error
	for n := 0; err == nil && n < 16; n++ {
		_, err = log.Append(t.Context(), from(identity.Viewer("vic")))
	}
	if err == nil || !strings.Contains(err.Error(), "2 MiB of records wait") {
		t.Errorf("%v", err)
	}
	if _, err := log.Append(t.Context(), from(identity.ControlPlane())); err != nil {
		t.Errorf("the control plane: %v", err)
	}
	if _, err := log.Append(t.Context(), audit.Record{Kind: audit.End, Of: 1}); err != nil {
		t.Errorf("an outcome: %v", err)
	}
}

func TestBrokenFilesAreNoEmptyOnes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{chainFile, ackedFile, segmentOf(1)} {
		dir := t.TempDir()
		open(t, dir)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, "db1")
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_AUDIT_UNAVAILABLE ||
			errs.HintOf(err).String() == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
