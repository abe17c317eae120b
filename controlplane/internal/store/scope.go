package store

import (
	"fmt"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// condition is a part of a WHERE clause.
type condition struct {
	sql  string
	args []any
}

// inScope adds a condition that holds for the rows of a scope; an empty scope adds nothing. A list
// that is narrowed here has full pages, and tokens that name nothing outside.
func (c *conditions) inScope(scope inventory.Scope, of func(inventory.Scope) condition) {
	if len(scope) > 0 {
		holds := of(scope)
		c.add(holds.sql, holds.args...)
	}
}

func joined(word string, some ...condition) (all condition) {
	var parts []string
	for _, one := range some {
		parts, all.args = append(parts, one.sql), append(all.args, one.args...)
	}
	all.sql = "(" + strings.Join(parts, word) + ")"
	return all
}

// named holds when a column is a prefix and the name of a server of the scope.
func named(column, prefix string) func(inventory.Scope) condition {
	return func(scope inventory.Scope) condition {
		var some []condition
		for _, pattern := range scope {
			some = append(some, condition{column + " LIKE ? ESCAPE '!'",
				[]any{prefix + like.Replace(pattern)}})
		}
		return joined(" OR ", some...)
	}
}

// like writes a pattern of names as LIKE reads it.
var like = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_", "*", "%")

// behind holds when a column is a prefix and a key that fulfils the condition.
func behind(column, prefix string, of func(key string) condition) condition {
	key := of(fmt.Sprintf("SUBSTR(%s, %d)", column, len(prefix)+1))
	return condition{"(" + column + " LIKE '" + prefix + "%' AND " + key.sql + ")", key.args}
}

// snapshotIn holds when a column is the id of a snapshot of a server of the scope.
func snapshotIn(scope inventory.Scope) func(column string) condition {
	return func(column string) condition {
		of := named("server", "")(scope)
		return condition{column + " IN (SELECT id FROM snapshots WHERE " + of.sql + ")", of.args}
	}
}

// jobIn holds when a column is the id of a job about a server of the scope, and about no other.
func jobIn(scope inventory.Scope) func(column string) condition {
	return func(column string) condition {
		server := joined(" OR ", named("subject", inventory.ServerSubject(""))(scope),
			named("subject", inventory.SnapshottingSubject(""))(scope))
		about := joined(" OR ", server,
			behind("subject", inventory.SnapshotSubject(""), snapshotIn(scope)))
		return joined(" AND ", condition{column + " IN (SELECT job_id FROM job_subjects WHERE " +
			about.sql + ")", about.args},
			condition{column + " NOT IN (SELECT job_id FROM job_subjects WHERE (subject LIKE '" +
				inventory.ServerSubject("%") + "' OR subject LIKE '" +
				inventory.SnapshottingSubject("%") + "') AND NOT " + server.sql + ")", server.args})
	}
}

// subjectIn holds when a column is the subject of an event about a server of the scope, or about a
// snapshot or a job of one.
func subjectIn(column string) func(inventory.Scope) condition {
	return func(scope inventory.Scope) condition {
		return joined(" OR ", named(column, inventory.ServerSubject(""))(scope),
			behind(column, inventory.SnapshotSubject(""), snapshotIn(scope)),
			behind(column, jobSubject, jobIn(scope)))
	}
}
