package systemd

import (
	"context"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

const (
	// wordsLines is how many lines an error shows.
	wordsLines = 10
	// runLines is how much of the journal of a run is read for them.
	runLines = 2000
	// ready is what MariaDB logs when its start is over.
	ready = "ready for connections"
)

// Errors are the lines that the unit logged as errors in its latest run, at most 10: the first ones
// of a start that failed, because the later ones follow from them; the last ones of a MariaDB that
// had served. None when it logged none.
func (j Journal) Errors(ctx context.Context, unit Unit) []string {
	return errorsOf(j.run(ctx, unit))
}

// lastWords are the errors of the unit's latest run, for an error's text; the end of its journal
// when it logged none; empty when it cannot be had.
func (j Journal) lastWords(ctx context.Context, unit Unit) string {
	entries := j.run(ctx, unit)
	words := errorsOf(entries)
	if len(words) == 0 {
		for _, entry := range entries[max(0, len(entries)-wordsLines):] {
			words = append(words, entry.Message)
		}
	}
	return strings.Join(words, "\n")
}

// run is what the journal has of the unit's latest run.
func (j Journal) run(ctx context.Context, unit Unit) []Entry {
	ctx, cancel := context.WithTimeout(ctx, journalTimeout)
	defer cancel()
	// What the unit wrote last may not have reached the journal yet.
	_, _ = j.exec.Run(ctx, hostexec.Command{Tool: "journalctl", Args: []string{"--sync"},
		Timeout: journalTimeout})
	var entries []Entry
	err := j.Tail(ctx, unit.Name, runLines, false, func(entry Entry) error {
		if unit.InvocationID == "" || entry.InvocationID == "" ||
			entry.InvocationID == unit.InvocationID {
			entries = append(entries, entry)
		}
		return nil
	})
	if err != nil {
		j.log.Debug("cannot read a journal", "unit", unit.Name, "error", err)
	}
	return entries
}

func errorsOf(entries []Entry) []string {
	var found []string
	served := false
	for _, entry := range entries {
		served = served || strings.Contains(entry.Message, ready)
		// systemd says only that the unit failed.
		isError := entry.Identifier != "systemd" && (strings.Contains(entry.Message, "[ERROR]") ||
			entry.Priority <= 3 && entry.Message != "")
		if isError && (len(found) == 0 || found[len(found)-1] != entry.Message) {
			found = append(found, entry.Message)
		}
	}
	if served {
		return found[max(0, len(found)-wordsLines):]
	}
	return found[:min(len(found), wordsLines)]
}
