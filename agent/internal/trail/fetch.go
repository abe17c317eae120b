package trail

import (
	"bytes"
	"os"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// mostFetched bounds the records of one answer, but for one of them.
const mostFetched = 512 << 10

// mostLines and longestLine are what the control plane takes: more than a record has.
const (
	mostLines   = 1000
	longestLine = 64 << 10
)

// Batch is what the control plane gets at a time.
type Batch struct {
	// Chain is the chain's name.
	Chain string
	// Lines are the next records as they were written.
	Lines []string
	// Head is the chain's newest record, as this process knows it.
	Head audit.Head
}

// Fetch notes that the control plane has the records of the chain up to kept, of which the files
// that are full then go, and gives the next ones.
func (t *Trail) Fetch(chain string, kept audit.Head) (Batch, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	behind := t.acked.Seq
	if chain == t.chain && kept.Seq > behind {
		ours, err := t.has(kept)
		if err == nil && ours {
			err = t.acknowledge(kept)
		}
		if err != nil {
			return Batch{}, err
		}
		behind = kept.Seq
	}
	lines, err := t.after(behind)
	return Batch{Chain: t.chain, Lines: lines, Head: t.head}, err
}

// has says whether the record that the control plane keeps is the one of this chain: files with
// others stay. One behind the newest was lost here, and counts.
func (t *Trail) has(kept audit.Head) (bool, error) {
	if kept.Seq >= t.head.Seq {
		return kept.Seq > t.head.Seq || kept == t.head, nil
	}
	firsts, err := t.segments()
	if err != nil {
		return false, err
	}
	i, found := slices.BinarySearch(firsts, kept.Seq)
	if !found {
		i--
	}
	if i < 0 {
		return false, nil
	}
	text, err := os.ReadFile(t.path(segmentOf(firsts[i])))
	if err != nil {
		return false, err
	}
	for line := range bytes.Lines(text) {
		if head, err := headOf(line); err == nil && head == kept {
			return true, nil
		}
	}
	return false, nil
}

func (t *Trail) acknowledge(kept audit.Head) error {
	if err := atomicfile.WriteJSON(t.path(ackedFile), kept); err != nil {
		return err
	}
	t.acked = kept
	if kept.Seq > t.head.Seq { // they were lost here, and are not written twice
		if t.file != nil {
			_ = t.file.Close()
		}
		t.head, t.file = kept, nil
	}
	return t.forget()
}

// forget removes the files of which the control plane has all records, but the newest.
func (t *Trail) forget() error {
	firsts, err := t.segments()
	if err != nil {
		return err
	}
	for i := 1; i < len(firsts) && firsts[i] <= t.acked.Seq+1; i++ {
		name := t.path(segmentOf(firsts[i-1]))
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
		t.total -= info.Size()
	}
	return nil
}

// sendable is a line as it is, unless it is none that was written here.
func sendable(text []byte) string {
	return strings.ToValidUTF8(string(text[:min(len(text), longestLine)]), "?")
}

// after reads the records behind that one, as many as an answer has.
func (t *Trail) after(seq int64) (lines []string, err error) {
	firsts, err := t.segments()
	if err != nil {
		return nil, err
	}
	size := 0
	for i, first := range firsts {
		if i+1 < len(firsts) && firsts[i+1] <= seq+1 {
			continue
		}
		text, err := os.ReadFile(t.path(segmentOf(first)))
		if err != nil {
			return nil, err
		}
		next := first
		for text := range bytes.Lines(text) {
			at := next // of one that cannot be read
			if head, err := headOf(text); err == nil {
				at = head.Seq
			}
			if next++; at <= seq || text[len(text)-1] != '\n' {
				continue // the control plane has it; or it is not there in whole
			}
			size += len(text)
			if len(lines) == mostLines || size > mostFetched && len(lines) > 0 {
				return lines, nil
			}
			// one that cannot be read is sent as it is: who verifies the chain finds it
			lines = append(lines, sendable(bytes.TrimSuffix(text, []byte("\n"))))
		}
	}
	return lines, nil
}
