//go:build lab

package e2e

import (
	"strings"
	"testing"
)

// typo is a mistake that somebody makes on the page before a block: it is refused in words that
// help, and the page goes on from there.
type typo struct {
	before string // a part of the block
	on     string // the host, where the block is for several
	right  string // what stands in the block
	wrong  string // what is typed instead
	taken  bool   // nobody can know better yet: the right one corrects it
	says   []string
}

var typos = []typo{
	{before: "apt-get install -y ./understudy-agent", on: "db1",
		wrong: "understudy-agent join --server db1", says: []string{"not found"}},
	{before: "understudy server create db1", wrong: "understudy server create db_1 --size 1GiB",
		says: []string{"lower-case letters", "for example db1"}},
	{before: "understudy server create db1", wrong: "understudy server create db1 --size 1Gb1",
		says: []string{"--size", "1Gb1"}},
	{before: "understudy server create db1",
		wrong: "understudy replica create db2 --of db1 --verify full",
		says:  []string{"db1", "hint"}},
	{before: "JOIN_LINE", right: ":7440", wrong: ":7441",
		says: []string{"control plane", "7441", "hint"}},
	{before: "JOIN_LINE", right: "--server db", wrong: "--server dbx",
		says: []string{"join token", "hint"}},
	{before: "JOIN_LINE", right: "sha256:", wrong: "sha256:0", says: []string{"--ca-pin"}},
	{before: "provider done TASK", right: "TASK", wrong: "nope",
		says: []string{"must be the id of a task"}},
	{before: "provider done TASK", right: "--address", wrong: "--device sda --address",
		says: []string{"device", "make machine"}},
	{before: "provider done TASK --address", right: "10.0.0.11", wrong: "10.0.0.10", taken: true,
		says: []string{"is done"}},
	{before: "provider done TASK --device", right: "DEVICE", wrong: "no-such-device", taken: true,
		says: []string{"is done"}},
	{before: "replica create db2", right: "--from SNAPSHOT", wrong: "--from snap-nope",
		says: []string{"snap-nope", "hint"}},
	{before: "replica create db2", right: "--verify full", wrong: "--verify all",
		says: []string{"--verify", "full"}},
}

// mistype types the mistakes for a block first.
func (p *page) mistype(t *testing.T, block part) {
	t.Helper()
	for _, m := range typos {
		if !strings.Contains(block.text, m.before) {
			continue
		}
		host, script := block.hosts[0], m.wrong
		if m.on != "" {
			host = m.on
		}
		if m.right != "" {
			script = ""
			for line := range strings.Lines(p.fill(t, block.text)) {
				if right := p.fill(t, m.right); strings.Contains(line, right) {
					script = strings.Replace(line, right, p.fill(t, m.wrong), 1)
				}
			}
		}
		if script == "" {
			continue // it is another block of the kind
		}
		out, err := p.site.try(host, script)
		for _, word := range m.says {
			if (err == nil) != m.taken || !strings.Contains(out, word) {
				t.Errorf("%s on %s: taken %v, or does not say %q:\n%s", script, host, err == nil,
					word, out)
			}
		}
		p.mistyped = p.mistyped || m.taken
		t.Logf("mistyped on %s: %s: %s", host, script, out)
	}
}
