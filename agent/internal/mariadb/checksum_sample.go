package mariadb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mostSampled is how many tables a sample has at most.
const mostSampled = 1000

// Why a table is not in a sample.
const (
	leftOutBytes = "it is larger than what is left of the sample"
	leftOutTime  = "the time of the sample was used up"
)

// sampled takes tables in the seed's order that fit into so many bytes together. One that does not
// fit is left out, and smaller ones behind it are taken.
func sampled(all []candidate, enough, seed int64) []candidate {
	if enough <= 0 {
		return all
	}
	rank := func(c candidate) string {
		sum := sha256.Sum256([]byte(strconv.FormatInt(seed, 10) + "\x00" + c.String()))
		return string(sum[:])
	}
	slices.SortFunc(all, func(a, b candidate) int { return strings.Compare(rank(a), rank(b)) })
	taken := 0
	for i, c := range all {
		if c.leftOut != "" {
			continue
		}
		if taken == mostSampled || c.bytes > enough {
			all[i].leftOut = leftOutBytes
			continue
		}
		enough -= c.bytes
		taken++
	}
	return all
}

// checksumWithin reads a table unless the time is used up before it is read, or meanwhile; no
// limit: however long it takes.
func checksumWithin(ctx context.Context, conn *sql.Conn, t candidate, limit time.Time,
	standsStill bool) (TableChecksum, error) {
	out := TableChecksum{Table: t.String(), Engine: t.engine, Bytes: t.bytes, LeftOut: t.leftOut}
	if t.leftOut != "" {
		return out, nil
	}
	if limit.IsZero() {
		return checksum(ctx, conn, t, standsStill)
	}
	out.LeftOut = leftOutTime
	left := time.Until(limit)
	if left <= 0 {
		return out, nil
	}
	if err := execute(ctx, conn, fmt.Sprintf("SET SESSION max_statement_time = %f",
		max(left, time.Millisecond).Seconds())); err != nil {
		return out, err
	}
	sum, err := checksum(ctx, conn, t, standsStill)
	if errno(err) != errStatementTimeout {
		return sum, err
	}
	return out, execute(ctx, conn, "ROLLBACK TO SAVEPOINT one_table")
}
