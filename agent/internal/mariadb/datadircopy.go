package mariadb

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// cleanedPath marks a volume whose copy of a datadir was cleaned: it has the nonce that the
// volume carried then. A snapshot of this volume carries another nonce, so the mark does not count
// there.
const cleanedPath = ".understudy/cleaned"

// cleanCopy takes the source's replication state out of a copied datadir, once in a volume's life:
// what is there later is this server's own.
func cleanCopy(dir string, volume Volume) ([]string, error) {
	nonce, err := readNonce(volume)
	if err != nil {
		return nil, err
	}
	mark := filepath.Join(volume.Mount, cleanedPath)
	if old, err := os.ReadFile(mark); err == nil && nonce != "" &&
		strings.TrimSpace(string(old)) == nonce {
		return nil, nil
	}
	doomed, err := leftovers(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read what the source left in %s: %w", dir, err)
	}
	if len(doomed) > 0 {
		if err := mustStand(dir, "clean the copied datadir"); err != nil {
			return nil, err
		}
	}
	changes, err := remove(doomed)
	if err != nil || nonce == "" {
		return changes, err
	}
	if _, err := atomicfile.Ensure(mark, []byte(nonce+"\n"), 0o644, nil); err != nil {
		return changes, diskError("cannot mark the volume as cleaned", err)
	}
	return changes, nil
}

// leftover is a kind of file, and where there are some.
type leftover struct {
	kind  string
	paths []string
}

func remove(doomed []leftover) ([]string, error) {
	var changes []string
	for _, d := range doomed {
		for _, path := range d.paths {
			if err := os.RemoveAll(path); err != nil {
				return changes, fmt.Errorf("cannot remove a leftover of the source: %w", err)
			}
			if err := atomicfile.SyncDir(filepath.Dir(path)); err != nil {
				return changes, fmt.Errorf("cannot remove a leftover of the source: %w", err)
			}
		}
		if len(d.paths) == 1 {
			changes = append(changes, "removed "+filepath.Base(d.paths[0]))
		} else {
			changes = append(changes, fmt.Sprintf("removed %d %s", len(d.paths), d.kind))
		}
	}
	return changes, nil
}

// leftovers are what a copy must not start with. The files of a change of a table (#sql-…) are not
// among them: MariaDB's recovery ends or undoes the change by them, and takes one whose files are
// gone for done, and writes it to the binary log. Relay logs come first and their index after them:
// a run that is interrupted finds the rest by the index.
func leftovers(dir string) ([]leftover, error) {
	relay, err := relayLogs(dir)
	if err != nil {
		return nil, err
	}
	infos, err := matching(dir, regexp.MustCompile(`^(master|relay-log|multi-master)(-.*)?\.info$`))
	if err != nil {
		return nil, err
	}
	var all []leftover
	for _, l := range []leftover{{"relay logs and indexes", relay},
		{"files of replication settings", infos}} {
		if len(l.paths) > 0 {
			all = append(all, l)
		}
	}
	return all, nil
}

func matching(dir string, pattern *regexp.Regexp) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if pattern.MatchString(e.Name()) && !e.IsDir() {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found, nil
}

// relayLogs finds relay logs by their indexes. The base name is the host's or the pid file's, so an
// index is a relay log's when it is named so, or when relay-log.info points into it.
func relayLogs(dir string) ([]string, error) {
	indexes, err := matching(dir, regexp.MustCompile(`\.index$`))
	if err != nil {
		return nil, err
	}
	current, err := currentRelayLogs(dir)
	if err != nil {
		return nil, err
	}
	var files, found []string
	for _, index := range indexes {
		listed, err := readIndex(index)
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(filepath.Base(index), ".index")
		if !strings.Contains(base, "relay") &&
			!slices.ContainsFunc(listed,
				func(f string) bool { return slices.Contains(current, f) }) {
			continue
		}
		same, err := matching(dir, regexp.MustCompile(`^`+regexp.QuoteMeta(base)+`\.\d{6,}$`))
		if err != nil {
			return nil, err
		}
		for _, name := range listed {
			if path := filepath.Join(dir, name); regularFile(path) && !slices.Contains(same, path) {
				same = append(same, path)
			}
		}
		files, found = append(files, same...), append(found, index)
	}
	return append(files, found...), nil
}

// currentRelayLogs are the base names that the relay-log.info files point to.
func currentRelayLogs(dir string) ([]string, error) {
	infos, err := matching(dir, regexp.MustCompile(`^relay-log(-.*)?\.info$`))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, info := range infos {
		text, err := os.ReadFile(info)
		if err != nil {
			return nil, err
		}
		// The first line is the number of lines, in newer versions; the next is the file.
		for _, line := range strings.SplitN(string(text), "\n", 3) {
			if name := filepath.Base(strings.TrimSpace(line)); logPattern.MatchString(name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

var logPattern = regexp.MustCompile(`^[^/]+\.\d{6,}$`)

// readIndex is the base names of the logs that an index lists.
func readIndex(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if name := filepath.Base(strings.TrimSpace(line)); logPattern.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func regularFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}
