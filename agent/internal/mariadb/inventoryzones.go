package mariadb

import (
	"context"
	"strings"
)

// zonesName is the name of the one object that all time zones are.
const zonesName = "mysql.time_zone_name"

// zones digests what CONVERT_TZ and a session's time_zone mean by each name. The ids that join the
// tables are left out: they go with the order in which zones were loaded. It is one object, so that
// one lock on the tables while zones are loaded makes one object busy.
func (i *inventory) zones(ctx context.Context) error {
	if !i.wants(zonesName) {
		return nil
	}
	o := Object{Kind: ObjectTimeZones, Name: zonesName}
	r, err := one(ctx, i.conn, "SELECT COUNT(*) AS n, SHA2(CONCAT_WS(',', COUNT(*), "+
		sumOf("n.Name", "z.Use_leap_seconds", "t.s", "y.s",
			"IF(z.Use_leap_seconds = 'Y', l.s, '')")+
		"), 256) AS d FROM mysql.time_zone_name n "+
		"LEFT JOIN mysql.time_zone z ON z.Time_zone_id = n.Time_zone_id "+
		zonePart("time_zone_transition", "Transition_time", "Transition_type_id")+" AS t "+
		"ON t.id = n.Time_zone_id "+
		zonePart("time_zone_transition_type", "Transition_type_id", "`Offset`", "Is_DST",
			"Abbreviation")+" AS y ON y.id = n.Time_zone_id "+
		"CROSS JOIN (SELECT CONCAT_WS(' ', COUNT(*), "+sumOf("Transition_time", "Correction")+
		") AS s FROM mysql.time_zone_leap_second) AS l")
	if err != nil && !ofOneObject(err) {
		return err
	}
	o.Digest, o.Value = r["d"], r["n"]
	if err != nil {
		o.fail(err)
		o.Value = ""
	}
	return i.each(o)
}

// zonePart joins a digest of the rows of each zone.
func zonePart(table string, columns ...string) string {
	return "LEFT JOIN (SELECT Time_zone_id AS id, CONCAT_WS(' ', COUNT(*), " + sumOf(columns...) +
		") AS s FROM mysql." + table + " GROUP BY Time_zone_id)"
}

// sumOf is the sum of a hash of each row, whose columns are of MariaDB's own tables: names and
// numbers.
func sumOf(columns ...string) string {
	values := make([]string, len(columns))
	for n, c := range columns {
		values[n] = "COALESCE(" + c + ", '-')"
	}
	return "SUM(" + hashOf("CONCAT_WS(CHAR(0), "+strings.Join(values, ", ")+")") + ")"
}
