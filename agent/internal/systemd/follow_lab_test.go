//go:build lab

package systemd_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/systemd"
)

// TestFollowsAJournalFromWhereItWas has a unit write while nobody reads, and while somebody does.
func TestFollowsAJournalFromWhereItWas(t *testing.T) {
	m := manager(t)
	name := unit(t, "writes", "Type=oneshot\nExecStart=/bin/sh -c 'cat /run/t-words'")
	writes := func(words ...string) {
		lab.Write(t, "/run/t-words", strings.Join(words, "\n")+"\n")
		lab.Run(t, "systemctl", "start", name)
	}
	var from systemd.From
	enough := errors.New("enough")
	follow := func(until string, meanwhile func()) (read string) {
		t.Helper()
		err := m.Journal.Follow(t.Context(), name, from, func(e systemd.Entry) error {
			from.Cursor = e.Cursor
			if strings.HasPrefix(e.Message, "word ") {
				read += e.Message[len("word "):]
			}
			if meanwhile != nil {
				meanwhile()
				meanwhile = nil
			}
			if e.Message == "word "+until {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatalf("read %q: %v", read, err)
		}
		return read
	}
	writes("word a", "word b")
	if got := follow("d", func() { writes("word c", "word d") }); got != "cd" && got != "bcd" {
		t.Errorf("without a cursor it read %q", got)
	}
	writes("word e", "word f")
	if got := follow("h", func() { writes("word g", "word h") }); got != "efgh" {
		t.Errorf("behind its cursor it read %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Journal.Follow(ctx, name, from, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}
