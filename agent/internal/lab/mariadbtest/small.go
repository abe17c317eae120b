//go:build lab

package mariadbtest

import (
	"strconv"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/gtid"
)

// Atoi is a number in text.
func Atoi(t testing.TB, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// Position is a position in text.
func Position(t testing.TB, text string) gtid.Position {
	t.Helper()
	p, err := gtid.ParsePosition(text)
	must(t, err)
	return p
}

// Plan is what a copy of a primary must have recovered.
func Plan(t testing.TB, point consistentpoint.Point, id int64) mariadb.ReplicaPlan {
	t.Helper()
	return mariadb.ReplicaPlan{Gtid: Position(t, point.Position()), SourceReplica: point.Replica,
		ServerID: id}
}

// Text is a number as text.
func Text(n int64) string { return strconv.FormatInt(n, 10) }
