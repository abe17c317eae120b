package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// fstabEntry is one line of /etc/fstab.
type fstabEntry struct{ source, path string }

// parseFstabLine reads a line; false for comments and what is no entry. Fields are escaped in
// octal.
func parseFstabLine(line string) (fstabEntry, bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
		return fstabEntry{}, false
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	return fstabEntry{source: unescape.Replace(fields[0]),
		path: filepath.Clean(unescape.Replace(fields[1]))}, true
}

// fstabLine is the entry for that mount point.
func (h *host) fstabLine(path string) (fstabEntry, bool) {
	content, err := os.ReadFile(h.path("/etc/fstab"))
	if err != nil {
		return fstabEntry{}, false
	}
	for line := range strings.Lines(string(content)) {
		if entry, ok := parseFstabLine(line); ok && entry.path == path {
			return entry, true
		}
	}
	return fstabEntry{}, false
}

// commentOut is the text with the entries for that mount point commented out, with a note; false
// when there is none.
func commentOut(content, path, note string) (string, bool) {
	var b strings.Builder
	changed := false
	for line := range strings.Lines(content) {
		if entry, ok := parseFstabLine(line); ok && entry.path == path {
			fmt.Fprintf(&b, "# %s\n# %s", note, line)
			changed = true
			continue
		}
		b.WriteString(line)
	}
	return b.String(), changed
}

// dropFromFstab comments the entries for that mount point out, in one step. It says whether there
// was one.
func (h *host) dropFromFstab(path, note string) (bool, error) {
	file := h.path("/etc/fstab")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read /etc/fstab: %w", err)
	}
	text, changed := commentOut(string(content), path, note)
	if !changed {
		return false, nil
	}
	info, err := os.Stat(file)
	if err == nil {
		err = atomicfile.Write(file, []byte(text), info.Mode().Perm())
	}
	if err != nil {
		return false, fmt.Errorf("cannot write /etc/fstab: %w", err)
	}
	return true, nil
}

// dropFromFstab comments the entries for that mount point out, and has systemd forget their units.
func (m *Manager) dropFromFstab(ctx context.Context, path, note string) ([]string, error) {
	dropped, err := m.host.dropFromFstab(path, "understudy-agent: "+note)
	if err != nil || !dropped {
		return nil, err
	}
	return []string{"commented out the entry of fstab"}, m.files.Reload(ctx)
}
