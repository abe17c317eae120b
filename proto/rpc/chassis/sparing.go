package chassis

import (
	"log/slog"
	"sync"
	"time"
)

const (
	sparingLines = 100.0
	sparingRate  = 10.0 // a second
)

// sparing keeps callers without a certificate from filling the log: journald leaves out lines of a
// service that writes 10,000 in 30 s, those that matter among them.
type sparing struct {
	log *slog.Logger

	mu   sync.Mutex
	room float64
	at   time.Time
	left int
}

func newSparing(log *slog.Logger) *sparing {
	return &sparing{log: log, room: sparingLines, at: time.Now()}
}

// may says whether there is room for another line. Those that are left out are counted.
func (s *sparing) may() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.room = min(sparingLines, s.room+now.Sub(s.at).Seconds()*sparingRate)
	s.at = now
	if s.room < 1 {
		s.left++
		return false
	}
	s.room--
	if s.left > 0 {
		s.log.Warn("left out lines about callers without a certificate", "lines", s.left)
		s.left = 0
	}
	return true
}
