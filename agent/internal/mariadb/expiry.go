package mariadb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// expireOption is MariaDB's age limit of binary logs, in seconds.
const expireOption = "binlog_expire_logs_seconds"

// MaxBinlogExpireSeconds is the highest age limit that MariaDB takes: 99 days.
const MaxBinlogExpireSeconds = 8553600

// SetBinlogExpiry makes MariaDB delete binary logs of that age, in the agent's option file and in
// the running server; 0 keeps them for ever. While binary logs are reserved the running server
// keeps them all, and this is what the end of the last reservation puts in place. It says whether
// anything changed, and needs a MariaDB that answers: one that starts just now may have read the
// file already.
func (s *Server) SetBinlogExpiry(ctx context.Context, seconds int64) (changed bool, err error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	const what = "cannot set the expiry of binary logs"
	if err := s.require(ctx, what); err != nil {
		return false, err
	}
	err = s.reserved.change(func(content *reservations) error {
		inFile, err := s.expiryInFile(seconds, len(content.Reservations) > 0)
		if err != nil {
			return err
		}
		running, err := s.expireAfter(ctx, content, seconds)
		changed = inFile || running
		return err
	})
	if err != nil {
		return false, failure(what, err)
	}
	if changed {
		s.log.Info("binary logs expire by another rule", "expire_seconds", seconds)
	}
	return changed, s.readBack(ctx, []Option{set(expireOption, seconds)}, &Configured{})
}

// expireAfter makes the running server follow the rule, now or after the last reservation.
func (s *Server) expireAfter(ctx context.Context, content *reservations,
	seconds int64) (bool, error) {
	if len(content.Reservations) > 0 {
		return s.expireLater(ctx, content, seconds)
	}
	current, err := s.readExpiry(ctx)
	if err != nil || current.Seconds == seconds {
		return false, err
	}
	return true, s.writeExpiry(ctx, current, expiry{seconds, current.TotalSize})
}

func (s *Server) expireLater(ctx context.Context, content *reservations,
	seconds int64) (bool, error) {
	if err := s.suspendExpiry(ctx, content); err != nil {
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

// expiryInFile rewrites the one option in the agent's file. Call it from reservationFile.change.
func (s *Server) expiryInFile(seconds int64, reserved bool) (bool, error) {
	old, err := os.ReadFile(s.config.DropIn)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("cannot read MariaDB's option file: %w", err)
	}
	content := withReserved(withOption(withReserved(old, false), set(expireOption, seconds)),
		reserved)
	changed, err := atomicfile.Ensure(s.config.DropIn, content, 0o644, nil)
	if err != nil {
		return false, diskError("cannot write MariaDB's option file", err)
	}
	return changed, nil
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
