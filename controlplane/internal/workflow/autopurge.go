package workflow

import (
	"context"
	"fmt"
	"time"
)

// autoPurgeAfter is the age at which binary logs go where they are purged automatically.
const autoPurgeAfter = 3 * 24 * time.Hour

// BinlogExpiry is the age at which MariaDB deletes binary logs by itself, with binlog auto purge or
// without it: 0 keeps them.
func BinlogExpiry(autoPurge bool) time.Duration {
	if autoPurge {
		return autoPurgeAfter
	}
	return 0
}

// stopAutoPurge makes the primary's MariaDB keep its binary logs, before the record says so and
// again before the replica counts on it.
func (s *step) stopAutoPurge(ctx context.Context, p *node) error {
	changed, err := p.agent.SetBinlogExpiry(ctx, BinlogExpiry(false), s.fence())
	if err != nil {
		return fmt.Errorf("cannot make %s keep its binary logs: %w", p.srv.Name, err)
	}
	if changed {
		s.Changed("binary logs of %s are no longer purged by age", p.srv.Name)
	}
	return nil
}
