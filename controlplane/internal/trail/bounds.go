package trail

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// mostChains are the new chains of a server in a day: each is an installation of its agent.
const mostChains = 4

var installation = regexp.MustCompile(`^[0-9a-f]{16}$`)

// begun are the chains that a server began lately.
type begun struct {
	chains []string
	since  time.Time
}

// check says why a batch is not taken: whatever root on a host makes its agent say.
func (f *Fetcher) check(ctx context.Context, server string, batch Batch) error {
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
	if len(batch.Lines) == 0 {
		return nil
	}
	kept, err := f.kept(ctx, batch.Chain)
	if err == nil && kept.Seq == 0 && !f.mayBegin(server, batch.Chain) {
		err = fmt.Errorf("the agent of %s began more than %d audits in a day", server, mostChains)
	}
	return err
}

// mayBegin counts a new chain of the server.
func (f *Fetcher) mayBegin(server, chain string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun == nil {
		f.begun = map[string]begun{}
	}
	b := f.begun[server]
	if time.Since(b.since) > 24*time.Hour {
		b = begun{since: time.Now()}
	}
	if slices.Contains(b.chains, chain) {
		return true
	}
	if len(b.chains) == mostChains {
		return false
	}
	b.chains = append(b.chains, chain)
	f.begun[server] = b
	return true
}
