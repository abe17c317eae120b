package mariadb

import (
	"context"
	"strings"
)

// expireOption is MariaDB's age limit of binary logs, in seconds.
const expireOption = "binlog_expire_logs_seconds"

// SetExpiry makes MariaDB delete binary logs of that age, in the agent's option file and in
// the running server; 0 keeps them for ever. While binary logs are reserved the running server
// keeps them all, and this is what the end of the last reservation puts in place. It says whether
// anything changed, and needs a MariaDB that answers: one that starts just now may have read the
// file already.
func (b *Binlogs) SetExpiry(ctx context.Context, seconds int64) (changed bool, err error) {
	b.server.changes.Lock()
	defer b.server.changes.Unlock()
	const what = "cannot set the expiry of binary logs"
	if err := b.server.require(ctx, what); err != nil {
		return false, err
	}
	err = b.reservations.file.change(func(content *reservations) error {
		inFile, err := b.options.dropIn.edit(func(old []byte) []byte {
			return withReserved(withOption(withReserved(old, false), set(expireOption, seconds)),
				len(content.Reservations) > 0)
		})
		if err != nil {
			return err
		}
		running, err := b.reservations.expireAfter(ctx, content, seconds)
		changed = inFile || running
		return err
	})
	if err != nil {
		return false, failure(what, err)
	}
	if changed {
		b.reservations.log.Info("binary logs expire by another rule", "expire_seconds", seconds)
	}
	return changed, b.options.readBack(ctx, []Option{set(expireOption, seconds)}, &Configured{})
}

// expireAfter makes the running server follow the rule, now or after the last reservation.
func (rs *Reservations) expireAfter(ctx context.Context, content *reservations,
	seconds int64) (bool, error) {
	if len(content.Reservations) > 0 {
		return rs.expireLater(ctx, content, seconds)
	}
	current, err := readExpiry(ctx, rs.server.db)
	if err != nil || current.Seconds == seconds {
		return false, err
	}
	return true, writeExpiry(ctx, rs.server.db, current, expiry{seconds, current.TotalSize})
}

func (rs *Reservations) expireLater(ctx context.Context, content *reservations,
	seconds int64) (bool, error) {
	if err := rs.suspendExpiry(ctx, content); err != nil {
		return false, err
	}
	// A rule of zeroes is not remembered: there is nothing to go back to.
	var was expiry
	if content.Original != nil {
		was = *content.Original
	}
	if was.Seconds == seconds {
		return false, nil
	}
	content.Original = &expiry{seconds, was.TotalSize}
	return true, nil
}

// withOption is an option file of ours with one option made so. All other lines stay as they are.
func withOption(content []byte, wanted Option) []byte {
	if len(content) == 0 {
		content = []byte(header)
	}
	lines := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	last := -1
	for i, line := range lines {
		if o, ok := parseOption(line); ok && o.Name == wanted.Name {
			last = i
		}
	}
	if last < 0 {
		lines = append(lines, wanted.String())
	} else {
		lines[last] = wanted.String()
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}
