package trail

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// mostChains are the new chains of a server in a day: each is an installation of its agent.
const mostChains = 4

var installation = regexp.MustCompile(`^[0-9a-f]{16}$`)

// source is what is known of the agent of a server.
type source struct {
	using sync.Mutex // one fetch at a time uses it
	// chain is the one that it named last.
	chain string
	// failed are the rounds in a row without an answer that can be used.
	failed int
	// bytes are what was kept of it lately, at that time.
	bytes float64
	at    time.Time
	// begun are the chains that it began in the day since then.
	begun []string
	since time.Time
}

func (f *Fetcher) source(server string) *source {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sources == nil {
		f.sources = map[string]*source{}
	}
	if f.sources[server] == nil {
		f.sources[server] = &source{}
	}
	return f.sources[server]
}

// check says why a batch is not taken: whatever root on a host makes its agent say.
func check(server string, batch Batch) error {
	name, ours := strings.CutPrefix(batch.Chain, audit.AgentChains(server))
	if !ours || !installation.MatchString(name) {
		return fmt.Errorf("the agent of %s names its audit %.80q", server, batch.Chain)
	}
	if n := len(batch.Lines); n > mostLines {
		return fmt.Errorf("the agent of %s gives %d records at once, of at most %d", server, n,
			mostLines)
	}
	for _, line := range batch.Lines {
		if len(line) > longestLine {
			return fmt.Errorf("the agent of %s gives a record of %d bytes, of at most %d", server,
				len(line), longestLine)
		}
	}
	return nil
}

// mayBegin counts a new chain.
func (s *source) mayBegin(chain string) bool {
	if time.Since(s.since) > 24*time.Hour {
		s.begun, s.since = nil, time.Now()
	}
	if slices.Contains(s.begun, chain) {
		return true
	}
	if len(s.begun) == mostChains {
		return false
	}
	s.begun = append(s.begun, chain)
	return true
}

// hasRoom bounds what is kept of one server: root on a host does not fill the store.
func (s *source) hasRoom(lines []string) bool {
	now := time.Now()
	if !s.at.IsZero() {
		s.bytes = max(0, s.bytes-now.Sub(s.at).Hours()*mostPerHour)
	}
	s.at = now
	if s.bytes > mostAtOnce {
		return false
	}
	if len(lines) > 0 {
		s.bytes += costOfBatch
	}
	for _, line := range lines {
		s.bytes += float64(len(line) + costOfLine)
	}
	return true
}
