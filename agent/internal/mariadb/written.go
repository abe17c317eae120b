package mariadb

import (
	"context"
	"time"
)

// mostAsked is how many tables are asked when they were written to; of more, each counts.
const mostAsked = 1000

// Written names the user's tables without transactions that may have been written to since a time,
// the first of them: a crash may have lost or torn their latest rows, or a replica applies them
// again. One that cannot tell may have been.
func (s *Server) Written(ctx context.Context, since time.Time) ([]string, error) {
	const what = "cannot tell what was written to"
	if err := s.require(ctx, what); err != nil {
		return nil, err
	}
	all, err := tablesThat(ctx, s.db, loose, mostAsked+1)
	if err != nil {
		return nil, failure(what, err)
	}
	var names []string
	for _, t := range all {
		if len(all) <= mostAsked {
			written, err := writtenSince(ctx, s.db, t, since)
			if err != nil {
				return nil, failure(what, err)
			}
			if !written {
				continue
			}
		}
		names = append(names, t.String())
	}
	return names, nil
}

// writtenSince goes by the time of the file, which MariaDB knows to the second.
func writtenSince(ctx context.Context, q querier, t tableName, since time.Time) (bool, error) {
	r, err := one(ctx, q, "SELECT UNIX_TIMESTAMP(update_time) AS at FROM "+
		"information_schema.tables WHERE table_schema = "+literal(t.schema)+
		" AND table_name = "+literal(t.name))
	at, told := r["at"]
	return err == nil && (!told || at == "" || r.number("at") >= since.Unix()), err
}
