package kit

import (
	"context"
	"time"
)

// Rows reads tables in small parts, without a lock.
type Rows interface {
	// Tables lists the tables of the user's schemas, all pages.
	Tables(ctx context.Context) ([]Table, error)
	// ChecksumRows sums the rows of a part of a table.
	ChecksumRows(ctx context.Context, req ChecksumRows) (RowSums, error)
}

// Table is a table, with its rows and bytes as estimated.
type Table struct {
	Name        string // "schema.table"
	Rows, Bytes int64
	Created     string // says when it was made: a table that takes another one's name has another
}

// Listed is when each of the tables was made, by name.
func Listed(tables []Table) map[string]string {
	listed := make(map[string]string, len(tables))
	for _, t := range tables {
		listed[t.Name] = t.Created
	}
	return listed
}

// Moved are the tables that are not under the name that they were listed by: made, renamed or made
// again since.
func Moved(listed map[string]string, now []Table) []Table {
	var moved []Table
	for _, t := range now {
		if created, known := listed[t.Name]; !known || created != t.Created {
			moved = append(moved, t)
		}
	}
	return moved
}

// RowRange is a chunk of a table: the rows whose primary key is after After and not after Last.
// Empty is an end of the table.
type RowRange struct {
	After []string `json:"after,omitempty"`
	Last  []string `json:"last,omitempty"`
}

// ChecksumRows says of which rows.
type ChecksumRows struct {
	Table      string
	Chunks     []RowRange    // when there are none, chunks are cut behind After
	After      []string      // empty begins at the start of the table
	Rows       int64         // of the first chunk that is cut
	Budget     time.Duration // in which chunks are cut
	AtGTID     string        // what a replica must have applied; empty on the primary
	MaxThreads int           // statements that may run in MariaDB; 0 does not look
}

// RowSums are the sums of some chunks.
type RowSums struct {
	GTID  string // position that the server had after it read
	Sums  []RowSum
	Busy  string // why nothing was read although it could be later
	Unfit string // why the table cannot be read in chunks
	// RowHash is the version of how rows are hashed: sums of two are not comparable.
	RowHash int
}

// RowSum is the sum of one chunk.
type RowSum struct {
	RowRange
	Rows int64
	Sum  string
}

// Equal reports whether both sums say the same of one chunk.
func (s RowSum) Equal(other RowSum) bool { return s.Rows == other.Rows && s.Sum == other.Sum }

// ChecksumBegin is the position of the checksums, and how much there is to do.
type ChecksumBegin struct {
	GTID    string
	Tables  int
	Bytes   int64
	RowHash int // the version of how rows are hashed
}

// TableChecksum is one table's.
type TableChecksum struct {
	Table          string
	Checksum       uint64
	Missing        bool // there is no such table
	Engine         string
	Consistent     bool // the engine honours the read view
	Bytes          int64
	DefinitionHash string
	LeftOut        string // why it was not read on purpose; empty for one that was
	Problem        string // why it is there and could not be read, in MariaDB's words
	Busy           bool   // another session's lock is the reason
}
