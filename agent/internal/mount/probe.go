package mount

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

// Signature is what probing finds on a device.
type Signature struct {
	// Filesystem is "ext4", "xfs" or another type; empty when there is none.
	Filesystem string
	// UUID and Label are the filesystem's.
	UUID, Label string
	// PartitionTable is "gpt" or "dos"; empty without one.
	PartitionTable string
	// Blank is true when no signature of any kind is found.
	Blank bool
	// Ambiguous is true when signatures contradict each other.
	Ambiguous bool
}

// Exit codes of blkid.
const (
	blkidNothing   = 2
	blkidAmbiguous = 8
)

// probe reads the device itself; no cache is asked.
func (h *host) probe(ctx context.Context, device string) (Signature, error) {
	result, err := h.exec.Run(ctx, hostexec.Command{Tool: "blkid", Timeout: 30 * time.Second,
		Args:    []string{"-p", "-o", "export", "--", device},
		OKCodes: []int{blkidNothing, blkidAmbiguous}})
	if err != nil {
		return Signature{}, fmt.Errorf("cannot probe %s: %w", device, err)
	}
	return parseSignature(result.Code, string(result.Stdout)), nil
}

func parseSignature(code int, output string) Signature {
	switch code {
	case blkidNothing:
		return Signature{Blank: true}
	case blkidAmbiguous:
		return Signature{Ambiguous: true}
	}
	var s Signature
	for line := range strings.Lines(output) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "TYPE":
			s.Filesystem = value
		case "UUID":
			s.UUID = value
		case "LABEL":
			s.Label = unescape(value)
		case "PTTYPE":
			s.PartitionTable = value
		}
	}
	// blkid reports the partition's entry in the table of its disk also when the partition itself
	// has nothing on it.
	s.Blank = s.Filesystem == "" && s.PartitionTable == ""
	return s
}

// unescape undoes the backslashes of blkid's export format.
func unescape(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
		}
		b.WriteByte(value[i])
	}
	return strings.ToValidUTF8(b.String(), "?")
}

const zeroSpan = 1 << 20

// zeroed says whether the first and the last MiB of the device are all zero.
func zeroed(path string) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	for _, offset := range []int64{0, max(0, size-zeroSpan)} {
		span := make([]byte, min(zeroSpan, size))
		if _, err := file.ReadAt(span, offset); err != nil {
			return false, err
		}
		for _, b := range span {
			if b != 0 {
				return false, nil
			}
		}
	}
	return true, nil
}
