package mariadb

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
)

// cleanedPath marks a volume whose copy of a datadir was cleaned: it has the nonce that the
// volume carried then. A snapshot of this volume carries another nonce, so the mark does not count
// there.
const cleanedPath = untrusted.Ours + "/cleaned"

// cleanCopy takes the source's replication state out of a copied datadir, once in a volume's life:
// what is there later is this server's own.
func cleanCopy(dir string, volume Volume) ([]string, error) {
	nonce, err := untrusted.Nonce(volume.Mount)
	if err != nil {
		return nil, err
	}
	old, err := untrusted.ReadBelow(volume.Mount, cleanedPath, untrusted.MostNonce)
	if err == nil && nonce != "" && strings.TrimSpace(string(old)) == nonce {
		return nil, nil
	}
	datadir, err := untrusted.Open(dir)
	if err != nil {
		return nil, err
	}
	defer datadir.Close()
	doomed, err := leftovers(datadir)
	if err != nil {
		return nil, fmt.Errorf("cannot read what the source left in %s: %w", dir, err)
	}
	if len(doomed) > 0 {
		if err := mustStand(dir, "clean the copied datadir"); err != nil {
			return nil, err
		}
	}
	changes, err := remove(datadir, doomed)
	if err != nil || nonce == "" {
		return changes, err
	}
	if err := volume.mark(cleanedPath, nonce); err != nil {
		return changes, diskError("cannot mark the volume as cleaned", err)
	}
	return changes, nil
}

// leftover is a kind of file, and which there are in the datadir.
type leftover struct {
	kind  string
	names []string
}

func remove(datadir *untrusted.Dir, doomed []leftover) ([]string, error) {
	var changes []string
	for _, d := range doomed {
		for _, name := range d.names {
			if err := datadir.RemoveAll(name); err != nil {
				return changes, fmt.Errorf("cannot remove a leftover of the source: %w", err)
			}
		}
		if len(d.names) == 1 {
			changes = append(changes, "removed "+d.names[0])
		} else {
			changes = append(changes, fmt.Sprintf("removed %d %s", len(d.names), d.kind))
		}
	}
	return changes, nil
}

// leftovers are what a copy must not start with. The files of a change of a table (#sql-…) are not
// among them: MariaDB's recovery ends or undoes the change by them, and takes one whose files are
// gone for done, and writes it to the binary log. Relay logs come first and their index after them:
// a run that is interrupted finds the rest by the index.
func leftovers(dir *untrusted.Dir) ([]leftover, error) {
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
		if len(l.names) > 0 {
			all = append(all, l)
		}
	}
	return all, nil
}

func matching(dir *untrusted.Dir, pattern *regexp.Regexp) ([]string, error) {
	entries, err := dir.Entries()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if pattern.MatchString(e.Name()) && !e.IsDir() {
			found = append(found, e.Name())
		}
	}
	return found, nil
}

// relayLogs finds relay logs by their indexes. The base name is the host's or the pid file's, so an
// index is a relay log's when it is named so, or when relay-log.info points into it.
func relayLogs(dir *untrusted.Dir) ([]string, error) {
	indexes, err := matching(dir, indexPattern)
	if err != nil {
		return nil, err
	}
	current, err := currentRelayLogs(dir)
	if err != nil {
		return nil, err
	}
	var files, found []string
	for _, index := range indexes {
		listed, err := readIndex(dir, index)
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(index, ".index")
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
			if regularIn(dir, name) && !slices.Contains(same, name) {
				same = append(same, name)
			}
		}
		files, found = append(files, same...), append(found, index)
	}
	return append(files, found...), nil
}

// currentRelayLogs are the base names that the relay-log.info files point to.
func currentRelayLogs(dir *untrusted.Dir) ([]string, error) {
	infos, err := matching(dir, regexp.MustCompile(`^relay-log(-.*)?\.info$`))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, info := range infos {
		text, err := dir.ReadFile(info, mostInfo)
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

// The most bytes of a file with replication settings, and of an index: 100,000 logs.
const (
	mostInfo  = 1 << 20
	mostIndex = 16 << 20
)

var indexPattern = regexp.MustCompile(`\.index$`)

var logPattern = regexp.MustCompile(`^[^/]+\.\d{6,}$`)

// readIndex is the base names of the logs that an index lists.
func readIndex(dir *untrusted.Dir, name string) ([]string, error) {
	text, err := dir.ReadFile(name, mostIndex)
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

func regularIn(dir *untrusted.Dir, name string) bool {
	info, err := dir.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
