package mariadb

import "context"

// zoneOffsets is the name in Live.Settings of a digest of what the server's SYSTEM time zone does.
const zoneOffsets = "system_time_zone_offsets"

// readZone adds what SYSTEM, the time zone of the host as the server read it at its start, makes of
// the middle of each month. Two zones with one name may differ, and two names may be one zone.
func (l *Live) readZone(ctx context.Context, q querier) error {
	at, err := one(ctx, q, "WITH RECURSIVE y AS (SELECT 1970 AS n UNION ALL SELECT n + 1 FROM y "+
		"WHERE n < 2037), m AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM m WHERE n < 12) "+
		"SELECT MD5(GROUP_CONCAT(CONVERT_TZ(CONCAT(y.n, '-', m.n, '-15'), '+00:00', 'SYSTEM') "+
		"ORDER BY y.n, m.n)) AS "+zoneOffsets+" FROM y, m")
	if err == nil && at[zoneOffsets] != "" {
		l.Settings[zoneOffsets] = at[zoneOffsets]
	}
	return err
}
