package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-db/understudy/proto/visible"
)

// LogConfig says how a daemon logs.
type LogConfig struct {
	// Level is the lowest level that is written.
	Level slog.Level
	// JSON writes lines of JSON instead of text.
	JSON bool
	// Journal begins each line with its priority, and leaves the time to systemd's journal.
	Journal bool
}

// NewLogger makes the log of a daemon. Durations are written as "1.5s" in either format.
func NewLogger(out io.Writer, config LogConfig) *slog.Logger {
	lines := &lineWriter{out: out, priorities: config.Journal}
	options := &slog.HandlerOptions{Level: config.Level, ReplaceAttr: config.readable}
	var format slog.Handler = slog.NewTextHandler(lines, options)
	if config.JSON {
		format = slog.NewJSONHandler(lines, options)
	}
	return slog.New(logHandler{format, lines})
}

// readable writes durations for people. The journal keeps the time and the level by itself.
func (c LogConfig) readable(groups []string, a slog.Attr) slog.Attr {
	if c.Journal && len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, Seconds(a.Value.Duration()))
	}
	return a
}

// Seconds is a duration as logs show it: to the millisecond, or finer below one.
func Seconds(d time.Duration) string {
	if d.Abs() < time.Millisecond {
		return d.Round(time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// logHandler tells the writer the level of the line that follows.
type logHandler struct {
	slog.Handler
	lines *lineWriter
}

// Handle writes one line.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.lines.mu.Lock()
	defer h.lines.mu.Unlock()
	h.lines.level = r.Level
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs), h.lines}
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name), h.lines}
}

// lineWriter writes whole lines, each in one call.
type lineWriter struct {
	mu         sync.Mutex
	out        io.Writer
	priorities bool
	level      slog.Level
}

// Write is called by the handler with one line, under mu.
func (l *lineWriter) Write(line []byte) (int, error) {
	line = visible.JSON(line)
	if l.priorities {
		line = bytes.Join([][]byte{fmt.Appendf(nil, "<%d>", priority(l.level)), line}, nil)
	}
	return l.out.Write(line)
}

// priority is a level as syslog and systemd number it.
func priority(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	default:
		return 7
	}
}

// ToJournal reports whether systemd connected that output to its journal, as JOURNAL_STREAM in the
// environment says.
func ToJournal(out io.Writer, environ []string) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil {
		return false
	}
	at, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	stream := fmt.Sprintf("JOURNAL_STREAM=%d:%d", at.Dev, at.Ino)
	for _, variable := range environ {
		if strings.TrimSpace(variable) == stream {
			return true
		}
	}
	return false
}
