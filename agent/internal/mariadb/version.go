package mariadb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

// Version is a version of MariaDB; the zero Version is none.
type Version struct{ Major, Minor, Patch int }

var versionPattern = regexp.MustCompile(`\b(\d{1,3})\.(\d{1,3})\.(\d{1,3})\b`)

// parseVersion finds the version in "11.8.6-MariaDB-0+deb13u1" and the like.
func parseVersion(text string) (Version, bool) {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return Version{}, false
	}
	var v Version
	for i, into := range []*int{&v.Major, &v.Minor, &v.Patch} {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return Version{}, false
		}
		*into = n
	}
	return v, true
}

// String is "11.8.6", or empty for none.
func (v Version) String() string {
	if v == (Version{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// sameSeries is true within 11.8.x, where a datadir needs no upgrade.
func (v Version) sameSeries(other Version) bool {
	return v.Major == other.Major && v.Minor == other.Minor
}

// newerSeries is true when a datadir of v cannot be opened by a binary of other.
func (v Version) newerSeries(other Version) bool {
	return v.Major > other.Major || v.Major == other.Major && v.Minor > other.Minor
}

// binaryVersion is that of the installed server.
func (s *Server) binaryVersion(ctx context.Context) (Version, error) {
	result, err := s.config.Exec.Run(ctx,
		hostexec.Command{Tool: "mariadbd", Args: []string{"--no-defaults", "--version"}})
	if err != nil {
		return Version{}, fmt.Errorf("cannot read the version of the installed MariaDB: %w", err)
	}
	v, ok := parseVersion(string(result.Stdout))
	if !ok {
		return Version{}, fmt.Errorf("cannot read the version of the installed MariaDB from %.80q",
			result.Stdout)
	}
	return v, nil
}

// binaryFacts are those of the installed server, for a while.
type binaryFacts struct {
	mu      sync.Mutex
	version Version
	read    time.Time
}

// binaryFactsAge is how late a status may learn of another package.
const binaryFactsAge = 15 * time.Second

// recentBinaryVersion is binaryVersion as it was a short while ago.
func (s *Server) recentBinaryVersion(ctx context.Context) (Version, error) {
	s.binary.mu.Lock()
	defer s.binary.mu.Unlock()
	if time.Since(s.binary.read) < binaryFactsAge {
		return s.binary.version, nil
	}
	v, err := s.binaryVersion(ctx)
	if err == nil {
		s.binary.version, s.binary.read = v, time.Now()
	}
	return v, err
}

// datadirVersion is the version that last upgraded the datadir; none when it does not say.
func datadirVersion(datadir string) (Version, error) {
	for _, name := range []string{"mariadb_upgrade_info", "mysql_upgrade_info"} {
		text, err := os.ReadFile(filepath.Join(datadir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return Version{}, fmt.Errorf("cannot read the version of the datadir: %w", err)
		}
		if v, ok := parseVersion(strings.TrimSpace(string(text))); ok {
			return v, nil
		}
		return Version{}, fmt.Errorf("cannot read the version of the datadir from %.80q in %s",
			text, name)
	}
	return Version{}, nil
}
