package trail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/audit"
)

const suffix = ".jsonl"

// segmentOf is the name of the file that begins with that record.
func segmentOf(first int64) string { return fmt.Sprintf("%020d%s", first, suffix) }

// segments are the numbers of the first records of the files, in order.
func (t *Trail) segments() (firsts []int64, err error) {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		digits, ours := strings.CutSuffix(entry.Name(), suffix)
		first, err := strconv.ParseInt(digits, 10, 64)
		if !ours || err != nil {
			continue
		}
		firsts = append(firsts, first)
	}
	slices.Sort(firsts)
	return firsts, nil
}

// openSegments finds the head of the chain, and goes on in the newest file.
func (t *Trail) openSegments() error {
	t.head = audit.Origin(t.chain)
	if t.acked.Seq > 0 {
		t.head = t.acked
	}
	firsts, err := t.segments()
	if err != nil {
		return err
	}
	for i, first := range firsts {
		text, err := os.ReadFile(t.path(segmentOf(first)))
		if err != nil {
			return err
		}
		whole := text[:bytes.LastIndexByte(text, '\n')+1]
		t.total += int64(len(whole))
		if i < len(firsts)-1 {
			continue
		}
		if err := t.goOn(first, whole, len(text)); err != nil {
			return err
		}
	}
	return nil
}

// goOn opens the newest file, of which a crash may have left a part of a record.
func (t *Trail) goOn(first int64, whole []byte, size int) (err error) {
	name := t.path(segmentOf(first))
	if len(whole) == 0 { // a crash before its first record, whose predecessor is in another file
		if err := os.Remove(name); err != nil {
			return err
		}
		t.total = 0
		return t.openSegments()
	}
	lines := bytes.Split(bytes.TrimSuffix(whole, []byte("\n")), []byte("\n"))
	head, err := headOf(lines[len(lines)-1])
	if err != nil {
		return fmt.Errorf("the last record of %s cannot be read: %w", name, err)
	}
	if head.Seq < t.head.Seq { // less than the control plane has: the next file goes on behind that
		return nil
	}
	t.head = head
	if t.file, err = os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return err
	}
	t.size = int64(len(whole))
	if size > len(whole) {
		t.torn = true
	}
	return t.mend()
}

func headOf(text []byte) (head audit.Head, err error) {
	var line audit.Line
	if err := json.Unmarshal(text, &line); err != nil {
		return head, err
	}
	r, err := line.Read()
	return audit.Head{Seq: r.Seq, Hash: line.Hash}, err
}
