//go:build lab

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// part is what the page has done: a block of commands, or work on the storage.
type part struct {
	hosts   []string // where a block runs
	how     string   // behind the hosts on its first line: "", "leave it running", …
	text    string
	storage []string // what is asked of the storage: the task and the host
}

// partPattern finds the blocks, and the storage's work in comments.
var partPattern = regexp.MustCompile("(?ms)^```sh\n# on ([^\n]+)\n(.*?)^```$" +
	`|^<!-- storage: (\w+) (?:volume )?(?:for|of) (\w+) -->$`)

// joinLine is what a token is printed as.
var joinLine = regexp.MustCompile(`(?m)^understudy-agent join .*$`)

func readPage(t *testing.T) []part {
	t.Helper()
	text, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	var parts []part
	for _, found := range partPattern.FindAllStringSubmatch(string(text), -1) {
		p := part{text: found[2]}
		if found[3] != "" {
			p.storage = found[3:]
		}
		where, rest, _ := strings.Cut(found[1], ", ")
		if other, more, ok := strings.Cut(rest, " and "); ok && pageAddresses[other] != "" {
			where, rest = where+" and "+other+" and "+more, ""
		}
		p.hosts, p.how = strings.Split(where, " and "), rest
		parts = append(parts, p)
	}
	if fences := strings.Count(string(text), "\n```sh\n"); len(parts) < fences || fences < 15 {
		t.Fatalf("%d parts were found in a page with %d blocks", len(parts), fences)
	}
	return parts
}

// page is the page as far as it was done.
type page struct {
	site     *site
	words    map[string]string // those in capitals
	disks    map[string]string // by host: the device of its volume
	snapshot string            // what the storage calls it
	running  *exec.Cmd         // the block that was left running
	output   bytes.Buffer      // what it printed
	mistyped bool              // the task was reported done, with a mistake
}

func (p *page) do(t *testing.T, part part) {
	t.Helper()
	if part.storage != nil {
		p.store(t, part.storage[0], part.storage[1])
		return
	}
	switch part.how {
	case "to upgrade", "to remove": // TestLongUpgrade does
		return
	case "and leave it running":
		p.leave(t, part.hosts[0], part.text)
		return
	case "when the job has ended":
		p.end(t)
	case "", "in a second terminal", "in a clone of Understudy":
	default:
		t.Fatalf("the page says %q, which is not known", part.how)
	}
	p.mistype(t, part)
	for _, host := range part.hosts {
		if strings.HasPrefix(part.text, "systemctl reboot") {
			defer p.reboot(t, host)()
			continue
		}
		script := p.fill(t, part.text)
		begin := time.Now()
		out := p.site.on(t, host, script)
		p.mistyped = false
		if line := joinLine.FindString(out); line != "" {
			p.words["JOIN_LINE"] = line
		}
		t.Logf("%s on %s: %s%s", time.Since(begin).Round(100*time.Millisecond), host, script, out)
	}
}

// reboot reboots a host and returns a function that waits until it is up again.
func (p *page) reboot(t *testing.T, host string) func() {
	t.Helper()
	before := p.site.booted(host)
	_, _ = p.site.try(host, "systemctl reboot") // its own end may take the answer along
	return func() {
		t.Helper()
		awaitTrue(t, time.Minute, host+" is up again", func() bool {
			now := p.site.booted(host)
			return now != "" && now != before
		})
	}
}

// leave starts a block that ends by what the next ones do.
func (p *page) leave(t *testing.T, host, text string) {
	t.Helper()
	p.end(t)
	p.mistype(t, part{hosts: []string{host}, text: text})
	p.running = p.site.command(t.Context(), host, p.fill(t, text))
	p.output.Reset()
	p.running.Stdout, p.running.Stderr = &p.output, &p.output
	if err := p.running.Start(); err != nil {
		t.Fatal(err)
	}
}

// end waits until the block that was left running has ended well.
func (p *page) end(t *testing.T) {
	t.Helper()
	if p.running == nil {
		return
	}
	if err := p.running.Wait(); err != nil {
		t.Fatalf("the job that was left running: %v:\n%s", err, p.output.String())
	}
	t.Logf("the job that was left running:\n%s", p.output.String())
	p.running = nil
}

// store does what a task asks of the storage.
func (p *page) store(t *testing.T, what, host string) {
	t.Helper()
	p.site.openTask(t)
	switch what {
	case "blank":
		p.disks[host] = p.site.tool(t, "volume", "create", "--bytes", "1073741824").Device
	case "snapshot":
		p.snapshot = p.site.tool(t, "snapshot", "create", p.disks[host]).Snapshot
		return
	case "copy":
		p.disks[host] = p.site.tool(t, "volume", "create", "--from", p.snapshot).Device
	default:
		t.Fatalf("the page asks the storage for %q, which is not known", what)
	}
	p.site.tool(t, "volume", "attach", p.disks[host], host)
	p.words["DEVICE"] = p.disks[host]
}

// fill puts this site's addresses and names in place of the page's.
func (p *page) fill(t *testing.T, text string) string {
	t.Helper()
	for page, address := range p.site.addresses {
		text = strings.ReplaceAll(text, page, address)
	}
	if strings.Contains(text, "TASK") && !p.mistyped {
		p.words["TASK"] = p.site.openTask(t)
	}
	if strings.Contains(text, "SNAPSHOT") {
		p.words["SNAPSHOT"] = p.site.snapshot(t)
	}
	for word, value := range p.words {
		text = strings.ReplaceAll(text, word, value)
	}
	return text
}

// openTask is the one task that is open, as soon as there is one.
func (s *site) openTask(t *testing.T) string {
	t.Helper()
	var answer struct{ Tasks []struct{ ID, Kind string } }
	awaitTrue(t, time.Minute, "a task is open", func() bool {
		s.list(t, "provider tasks", &answer)
		return len(answer.Tasks) > 0
	})
	if len(answer.Tasks) > 1 {
		t.Fatalf("several tasks are open: %v", answer.Tasks)
	}
	return answer.Tasks[0].ID
}

func (s *site) snapshot(t *testing.T) string {
	t.Helper()
	var answer struct{ Snapshots []struct{ Name string } }
	if s.list(t, "snapshot list", &answer); len(answer.Snapshots) != 1 {
		t.Fatalf("want one snapshot: %v", answer.Snapshots)
	}
	return strings.TrimPrefix(answer.Snapshots[0].Name, "snapshots/")
}

// list reads a list of the command line's.
func (s *site) list(t *testing.T, command string, into any) {
	t.Helper()
	out, err := s.command(context.Background(), "cp", "understudy "+command+" -o json").Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("understudy %s: %v: %s", command, err, out)
	}
}
