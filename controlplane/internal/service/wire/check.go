package wire

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const (
	serverPrefix   = "servers/"
	snapshotPrefix = "snapshots/"
	jobPrefix      = "jobs/"
	maxReason      = 500
	maxToken       = 1024
	maxOptions     = 50
	maxValue       = 256
)

var (
	idPattern     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)
	stepPattern   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	placePattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)
	optionPattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
	etagPattern   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

// Check collects what is wrong with a request. The zero value is ready; Err answers with all of it.
type Check struct{ errs.Fields }

// Server takes the id out of "servers/{server}". An empty name is wrong only when it is required.
func (c *Check) Server(field, name string, required bool) string {
	if name == "" && !required {
		return ""
	}
	id, ok := strings.CutPrefix(name, serverPrefix)
	c.Require(field, ok && inventory.ValidateName(id) == nil,
		`must be "servers/{server}", for example servers/db1`)
	return id
}

// Snapshot takes the id out of "snapshots/{snapshot}". An empty name is wrong only when it is
// required.
func (c *Check) Snapshot(field, name string, required bool) string {
	if name == "" && !required {
		return ""
	}
	id, ok := strings.CutPrefix(name, snapshotPrefix)
	c.Require(field, ok && idPattern.MatchString(id),
		`must be "snapshots/{snapshot}", as a list shows it`)
	return id
}

// Job takes the id out of "jobs/{job}".
func (c *Check) Job(field, name string) string {
	id, ok := strings.CutPrefix(name, jobPrefix)
	c.Require(field, ok && idPattern.MatchString(id), `must be "jobs/{job}", as a list shows it`)
	return id
}

// Step is the name of a step within a job. An empty one is wrong only when it is required.
func (c *Check) Step(field, name string, required bool) {
	c.Require(field, name == "" && !required || stepPattern.MatchString(name),
		"must be the name of a step, for example mount_data")
}

// Subject is what jobs and events are about: the name of a server, a snapshot or a job, or empty.
func (c *Check) Subject(field, name string) {
	kind, id, _ := strings.Cut(name, "/")
	known := kind+"/" == serverPrefix || kind+"/" == snapshotPrefix || kind+"/" == jobPrefix
	c.Require(field, name == "" || known && idPattern.MatchString(id),
		`must be "servers/{server}", "snapshots/{snapshot}" or "jobs/{job}"`)
}

// RequestID is an idempotency key: a UUID, or empty. It is returned as it is kept, so that two
// spellings of one id are one.
func (c *Check) RequestID(field, id string) string {
	if id == "" {
		return ""
	}
	parsed, err := uuid.Parse(id)
	c.Require(field, err == nil && len(id) == 36,
		"must be a UUID, for example 6f1c2a34-0b5d-4c8e-9a51-3f4f7d1f8a10")
	return parsed.String()
}

// Etag is one that an answer carried. An empty one is wrong only when it is required.
func (c *Check) Etag(field, etag string, required bool) {
	c.Require(field, etag == "" && !required || etagPattern.MatchString(etag),
		"must be the etag that was read: the fact that the call relies on")
}

// Reason says why, for the audit.
func (c *Check) Reason(field, reason string) {
	c.Require(field, strings.TrimSpace(reason) != "", "is needed: say why, for the audit")
	c.Require(field, len(reason) <= maxReason, fmt.Sprintf("must be at most %d bytes", maxReason))
}

// Place is the name of an image or a zone, or empty.
func (c *Check) Place(field, name string) {
	c.Require(field, name == "" || placePattern.MatchString(name) && !strings.Contains(name, ".."),
		"must be a name of at most 128 letters, digits, dots, colons, underscores and dashes")
}

// Port is a TCP port, or 0 for the default.
func (c *Check) Port(field string, port int32) {
	c.Require(field, port >= 0 && port <= 65535, "must be 1 to 65535, or 0 for the default")
}

// MinVolumeBytes is the smallest data volume: a new datadir takes some 170 MiB, and its binary logs
// grow.
const MinVolumeBytes = 512 << 20

// Positive is a duration that is absent or positive.
func (c *Check) Positive(field string, d *durationpb.Duration) {
	c.Require(field, d == nil || d.AsDuration() > 0, "must be positive")
}

// Size is the size of a data volume in bytes, or 0 for the default.
func (c *Check) Size(field string, bytes int64) {
	c.Require(field, bytes == 0 || bytes >= MinVolumeBytes,
		fmt.Sprintf("must be at least %d MiB: a new datadir and its logs take as much",
			MinVolumeBytes>>20))
}

// Options are MariaDB options; the agent's allow-list has the last word on them.
func (c *Check) Options(field string, options map[string]string) {
	c.Require(field, len(options) <= maxOptions, fmt.Sprintf("must be at most %d", maxOptions))
	for name, value := range options {
		at := fmt.Sprintf("%s[%.40q]", field, name)
		c.Require(at, optionPattern.MatchString(name),
			"must be the name of an option: lower-case letters, digits, dashes and underscores")
		c.Require(at, len(value) <= maxValue && !strings.ContainsAny(value, "\r\n\x00"),
			fmt.Sprintf("must be one line of at most %d bytes", maxValue))
	}
}

// Who is the caller, as the audit names them.
func Who(ctx context.Context) string { return identity.PeerOf(ctx).Identity.String() }
