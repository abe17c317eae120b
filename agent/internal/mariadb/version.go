package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
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

// binary is the installed server.
type binary struct {
	exec Exec
	mu   sync.Mutex
	last Version
	read time.Time
}

// binaryAge is how late a status may learn of another package.
const binaryAge = 15 * time.Second

// recent is the version as it was a short while ago.
func (b *binary) recent(ctx context.Context) (Version, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.read) < binaryAge {
		return b.last, nil
	}
	v, err := binaryVersion(ctx, b.exec)
	if err == nil {
		b.last, b.read = v, time.Now()
	}
	return v, err
}

// BinaryVersion is the installed version; empty when there is none.
func (h *Host) BinaryVersion(ctx context.Context) string {
	v, err := h.binary.recent(ctx)
	if err != nil {
		return ""
	}
	return v.String()
}

// binaryVersion is that of the installed server.
func binaryVersion(ctx context.Context, exec Exec) (Version, error) {
	result, err := exec.Run(ctx,
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

// mostVersion bounds a file with a version.
const mostVersion = 1 << 10

// upgradeInfo are the files that say the version of a datadir. MariaDB 11 and later write the first
// one: empty when an upgrade begins, and the version at its end. Until then the second one counts.
var upgradeInfo = [...]string{"mariadb_upgrade_info", "mysql_upgrade_info"}

// datadirVersion is the version that last upgraded the datadir; none when it does not say.
func datadirVersion(datadir string) (Version, error) {
	for _, name := range upgradeInfo {
		text, err := untrusted.ReadBelow(datadir, name, mostVersion)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
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

// halfUpgraded says whether an upgrade of the datadir has begun that has not ended.
func halfUpgraded(datadir string) bool {
	text, err := untrusted.ReadBelow(datadir, upgradeInfo[0], mostVersion)
	return err == nil && len(text) == 0
}
