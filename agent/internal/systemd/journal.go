package systemd

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

const (
	// journalTimeout bounds what is read of a journal for an error's text.
	journalTimeout = 5 * time.Second
	maxMessage     = 4 << 10
)

// Entry is one line of a journal.
type Entry struct {
	// Time when it was written.
	Time time.Time
	// Identifier of the process that wrote it.
	Identifier string
	// Priority is syslog's, 0 (emergency) to 7 (debug).
	Priority int
	// Message is the text, cut at 4 KiB.
	Message string
	// Cursor of the entry.
	Cursor string
	// InvocationID of the unit's run that it belongs to.
	InvocationID string
}

// Journal reads what units write.
type Journal struct {
	exec *hostexec.Runner
	log  *slog.Logger
}

// Tail hands over the last lines of the unit's journal, oldest first, and with follow the new ones
// as they come, until ctx is done or each returns an error.
func (j Journal) Tail(ctx context.Context, unit string, lines int, follow bool,
	each func(Entry) error) error {
	args := []string{"--lines=" + strconv.Itoa(lines)}
	if follow {
		args = append(args, "--follow")
	}
	return j.lines(ctx, unit, follow, args, each)
}

// lines reads the unit's journal with more arguments; what follows it has no limit of time.
func (j Journal) lines(ctx context.Context, unit string, follows bool, args []string,
	each func(Entry) error) error {
	if err := CheckName(unit); err != nil {
		return err
	}
	command := hostexec.Command{Tool: "journalctl", Args: append([]string{"--output=json",
		"--no-pager", "--quiet", "--unit=" + unit}, args...)}
	if follows {
		command.Timeout = -1
	}
	return j.exec.Lines(ctx, command, func(line []byte) error {
		entry, ok := parseEntry(line)
		if !ok {
			return nil
		}
		return each(entry)
	})
}

// From is where a journal is followed from: behind the entry of a cursor, else from a time on,
// else from the last entry on.
type From struct {
	Cursor string
	Since  time.Time
}

// Follow hands over the lines of the unit's journal as they come, until ctx is done or each returns
// an error. Where the entry of the cursor is gone, it begins behind that place.
func (j Journal) Follow(ctx context.Context, unit string, from From,
	each func(Entry) error) error {
	args := []string{"--follow"}
	switch {
	case from.Cursor != "":
		args = append(args, "--no-tail", "--after-cursor="+from.Cursor)
	case !from.Since.IsZero():
		args = append(args, "--no-tail", fmt.Sprintf("--since=@%d.%06d", from.Since.Unix(),
			from.Since.Nanosecond()/1000))
	default:
		args = append(args, "--lines=1")
	}
	return j.lines(ctx, unit, true, args, each)
}

// parseEntry reads one line of `journalctl -o json`. Values that are not UTF-8 come as a list of
// bytes, those too long as null.
func parseEntry(line []byte) (Entry, bool) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return Entry{}, false
	}
	text := func(key string) string { return journalText(fields[key]) }
	usec, err := strconv.ParseInt(text("__REALTIME_TIMESTAMP"), 10, 64)
	if err != nil {
		return Entry{}, false
	}
	priority, err := strconv.Atoi(text("PRIORITY"))
	if err != nil || priority < 0 || priority > 7 {
		priority = 6
	}
	entry := Entry{Time: time.UnixMicro(usec), Identifier: text("SYSLOG_IDENTIFIER"),
		Priority: priority, Message: text("MESSAGE"),
		Cursor: text("__CURSOR"), InvocationID: text("_SYSTEMD_INVOCATION_ID")}
	if own := text("INVOCATION_ID"); own != "" { // systemd's own words about the unit
		entry.InvocationID = own
	}
	if entry.Identifier == "" {
		entry.Identifier = text("_COMM")
	}
	if len(entry.Message) > maxMessage {
		entry.Message = entry.Message[:maxMessage]
	}
	entry.Message = strings.ToValidUTF8(entry.Message, "?")
	return entry, true
}

func journalText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var numbers []byte
	var list []int
	if json.Unmarshal(raw, &list) == nil {
		for _, n := range list {
			numbers = append(numbers, byte(n))
		}
		return string(numbers)
	}
	var several []string // a field that occurs more than once
	if json.Unmarshal(raw, &several) == nil && len(several) > 0 {
		return several[len(several)-1]
	}
	return ""
}

func (j Journal) lastLine(ctx context.Context, unit Unit) string {
	var last string
	err := j.Tail(ctx, unit.Name, 1, false, func(entry Entry) error {
		if entry.InvocationID == unit.InvocationID {
			last = entry.Message
		}
		return nil
	})
	if err != nil {
		return ""
	}
	return last
}
