package mariadb

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// tableShape is how the rows of a table are read in chunks.
type tableShape struct {
	from  string // the table, with the history of a versioned one
	hash  string // of a row, as SQL
	key   []keyColumn
	unfit string // why it cannot be read
}

// keyColumn is a column of the key; charset is that of its text, empty where every letter of that
// is one of Unicode.
type keyColumn struct{ name, class, charset string }

// The classes of key columns: how a value is written in SQL, and read from it.
const (
	keyNumber = "number"
	keyText   = "text"
	keyBinary = "binary"
	keyOther  = "other" // dates, addresses: as text
)

// keyClasses are the types whose order in the index is that of their values as literals.
var keyClasses = map[string]string{
	"tinyint": keyNumber, "smallint": keyNumber, "mediumint": keyNumber, "int": keyNumber,
	"bigint": keyNumber, "decimal": keyNumber, "year": keyNumber,
	"char": keyText, "varchar": keyText, "binary": keyBinary, "varbinary": keyBinary,
	"date": keyOther, "datetime": keyOther, "timestamp": keyOther, "time": keyOther,
	"uuid": keyOther, "inet4": keyOther, "inet6": keyOther,
}

// unfitEngines have no rows of their own, or none that a replica has.
var unfitEngines = map[string]string{
	"MEMORY":     "a restart empties a MEMORY table",
	"MRG_MyISAM": "a MERGE table has the rows of others",
	"BLACKHOLE":  "a BLACKHOLE table has no rows",
}

// unfitGone is of a table that is not listed.
const unfitGone = "it is gone"

// whole has no limit end a query of information_schema: MariaDB answers with the rows that it has
// then, and no error. A table would be gone, or its row have fewer columns. KILL QUERY does the
// same to one that sorts: none of ours does.
const whole = "SET STATEMENT max_statement_time = 0 FOR "

// inOrder sorts rows by their column "at".
func inOrder(rows []row) {
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.number("at"), b.number("at")) })
}

func shapeOf(ctx context.Context, conn *sql.Conn, name tableName) (tableShape, error) {
	where := " WHERE table_schema = " + literal(name.schema) + " AND table_name = " +
		literal(name.name)
	t, err := one(ctx, conn, whole+"SELECT table_type AS t, engine AS e FROM "+
		"information_schema.tables"+where)
	if err != nil {
		return tableShape{}, err
	}
	shape := tableShape{from: name.sql(), unfit: unfitEngines[t["e"]]}
	switch {
	case t["t"] == "SYSTEM VERSIONED":
		shape.from += " FOR SYSTEM_TIME ALL"
	case t["t"] == "":
		shape.unfit = unfitGone
	case t["t"] != "BASE TABLE":
		shape.unfit = "it is no table with rows of its own"
	case remoteEngine(t["e"]):
		shape.unfit = "its rows are outside of the datadir"
	}
	if shape.unfit != "" {
		return shape, nil
	}
	columns, err := query(ctx, conn, whole+"SELECT column_name AS n, LOWER(data_type) AS t, "+
		"extra AS x, generation_expression AS g, character_set_name AS c, "+
		"ordinal_position AS at FROM information_schema.columns"+where)
	if err != nil {
		return shape, err
	}
	key, err := query(ctx, conn, whole+"SELECT column_name AS n, sub_part AS part, "+
		"seq_in_index AS at FROM information_schema.statistics"+where+
		" AND index_name = 'PRIMARY'")
	if err != nil {
		return shape, err
	}
	inOrder(columns)
	inOrder(key)
	if t["t"] == "SYSTEM VERSIONED" && !slices.ContainsFunc(columns,
		func(c row) bool { return c["g"] == rowEnd }) { // it has them, and does not list them
		columns = append(columns, row{"n": "row_end", "t": "timestamp", "g": rowEnd})
	}
	shape.hash, shape.key = rowHash(columns), keyOf(columns, key)
	if len(shape.key) > 0 {
		shape.from += " FORCE INDEX (PRIMARY)"
	}
	return shape, nil
}

// rowStart and rowEnd are the columns of a versioned table that say from when and until when a row
// was in it, by time, or by the number of a transaction.
const (
	rowStart = "ROW START"
	rowEnd   = "ROW END"
)

// keyOf are the primary key's columns; none when it cannot cut the table into chunks. MariaDB adds
// the end of a row to the key of a versioned table: no two servers have the same values there. The
// columns before it cut the table as well, the rows of one key together.
func keyOf(columns, key []row) []keyColumn {
	types, own, charsets := map[string]string{}, map[string]bool{}, map[string]string{}
	for _, c := range columns {
		types[c["n"]], own[c["n"]] = c["t"], c["g"] == rowStart || c["g"] == rowEnd
		if !strings.HasPrefix(c["c"], "utf") && c["c"] != "ucs2" {
			charsets[c["n"]] = c["c"]
		}
	}
	var all []keyColumn
	for _, k := range key {
		if own[k["n"]] {
			break
		}
		class := keyClasses[types[k["n"]]]
		if _, prefix := k["part"]; prefix || class == "" {
			return nil
		}
		all = append(all, keyColumn{k["n"], class, charsets[k["n"]]})
	}
	return all
}

// RowHash is the version of rowHash. Sums of two versions are not comparable.
const RowHash = 3

// neverEnded is the end of a row that is still in a table versioned by transactions.
const neverEnded = "18446744073709551615"

// rowHash is 60 bits of a row's MD5: a checksum such as CRC32 is linear, and the sums of two rows
// that swapped a value would be equal. Long values are hashed by themselves, or the row would
// exceed max_allowed_packet and be NULL. No two rows are joined to the same text: a value that may
// have a NUL in it comes behind its length, and which ones are NULL stands at the end.
func rowHash(columns []row) string {
	var values, nulls []string
	for _, c := range columns {
		name := identifier(c["n"])
		switch {
		case strings.Contains(strings.ToUpper(c["x"]), "VIRTUAL"), c["g"] == rowStart:
			continue // it is computed from the others, or by each server for itself
		case c["g"] == rowEnd && c["t"] == "timestamp":
			// Its greatest value goes with the version.
			name = "(" + name + " > CURRENT_TIMESTAMP(6))"
		case c["g"] == rowEnd: // each server numbers its own transactions
			name = "(" + name + " = " + neverEnded + ")"
		}
		nulls = append(nulls, "ISNULL("+name+")")
		values = append(values, hashed(name, c["t"]))
	}
	if len(values) == 0 { // all are computed, of nothing: there is but one such row
		return hashOf("''")
	}
	return hashOf("CONCAT_WS(CHAR(0), " + strings.Join(values, ", ") + ", CONCAT(" +
		strings.Join(nulls, ", ") + "))")
}

// hashOf is 60 bits of the MD5 of a text, in SQL: a sum of them is a decimal.
func hashOf(text string) string {
	return "CAST(CONV(LEFT(MD5(" + text + "), 15), 16, 10) AS UNSIGNED)"
}

// hashed are the texts of a value that go into the hash of its row.
func hashed(name, kind string) string {
	switch kind {
	case "tinytext", "text", "mediumtext", "longtext", "json", "tinyblob", "blob", "mediumblob",
		"longblob", "vector":
		return "MD5(" + name + ")"
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
		"multipolygon", "geometrycollection":
		return "MD5(ST_AsWKB(" + name + ")), ST_SRID(" + name + ")"
	case "float": // as text it would lose digits
		return "CAST(" + name + " AS DOUBLE)"
	case "bit":
		return name + " + 0"
	case "enum", "set": // a value that was none of them is an empty text, as a member may be
		return name + " + 0, LENGTH(" + name + "), CAST(" + name + " AS BINARY)"
	case "char", "varchar", "binary", "varbinary":
		return "LENGTH(" + name + "), CAST(" + name + " AS BINARY)"
	}
	return name
}

// boundary is the key of the last of the next rows; nil when there are not so many, or no key. A
// key that no text tells does not count: the chunk would end elsewhere, also before its begin.
func (t tableShape) boundary(ctx context.Context, conn *sql.Conn, after RowKey,
	rows int64) (RowKey, error) {
	if len(t.key) == 0 {
		return nil, nil
	}
	where, err := t.within(RowRange{After: after})
	if err != nil {
		return nil, err
	}
	var read, order []string
	for n, k := range t.key {
		name := identifier(k.name)
		order = append(order, name)
		switch k.class {
		case keyText:
			where += k.told()
			name = "CONVERT(" + name + " USING utf8mb4)"
		case keyBinary:
			name = "HEX(" + name + ")"
		}
		read = append(read, fmt.Sprintf("%s AS k%d", name, n))
	}
	r, err := one(ctx, conn, fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT 1 OFFSET %d",
		strings.Join(read, ", "), t.from, where, strings.Join(order, ", "), rows-1))
	if err != nil || len(r) == 0 {
		return nil, err
	}
	last := make(RowKey, len(t.key))
	for n := range t.key {
		last[n] = r[fmt.Sprintf("k%d", n)]
	}
	return last, nil
}

// told is the condition that a text is the same once it was read as Unicode: a character set may
// have bytes that are none of its letters.
func (k keyColumn) told() string {
	if k.class != keyText || k.charset == "" {
		return ""
	}
	name := identifier(k.name)
	return " AND CAST(CONVERT(CONVERT(" + name + " USING utf8mb4) USING " + identifier(k.charset) +
		") AS BINARY) = CAST(" + name + " AS BINARY)"
}

// within is the condition of a chunk's rows. Row constructors would not use the index.
func (t tableShape) within(c RowRange) (string, error) {
	after, err := t.beside(c.After, ">", ">")
	if err != nil {
		return "", err
	}
	last, err := t.beside(c.Last, "<", "<=")
	return after + " AND " + last, err
}

// beside is the condition of keys on one side of a key: strict compares all columns but the last
// one, end the last.
func (t tableShape) beside(key RowKey, strict, end string) (string, error) {
	if len(key) == 0 {
		return "1", nil
	}
	if len(key) != len(t.key) {
		return "", fmt.Errorf("a key has %d columns, the primary key has %d", len(key),
			len(t.key))
	}
	values := make([]string, len(key))
	for n, k := range t.key {
		var err error
		if values[n], err = k.literal(key[n]); err != nil {
			return "", err
		}
	}
	var alternatives []string
	equal := ""
	for n, k := range t.key {
		compare := strict
		if n == len(t.key)-1 {
			compare = end
		}
		name := identifier(k.name)
		alternatives = append(alternatives, "("+equal+name+" "+compare+" "+values[n]+")")
		equal += name + " = " + values[n] + " AND "
	}
	// The first column alone bounds the range that the index reads.
	return fmt.Sprintf("%s %s= %s AND (%s)", identifier(t.key[0].name), strict, values[0],
		strings.Join(alternatives, " OR ")), nil
}

var (
	keyNumbers = regexp.MustCompile(`^-?[0-9]{1,65}(\.[0-9]{1,38})?$`)
	keyHexes   = regexp.MustCompile(`^([0-9A-F]{2})*$`)
)

// literal is a value of the column in SQL. The value comes from another host.
func (k keyColumn) literal(value string) (string, error) {
	switch k.class {
	case keyNumber:
		if !keyNumbers.MatchString(value) {
			return "", fmt.Errorf("%q is no number", value)
		}
		return value, nil
	case keyBinary:
		if !keyHexes.MatchString(value) {
			return "", fmt.Errorf("%q is not hexadecimal", value)
		}
		return "X'" + value + "'", nil
	}
	return literal(value), nil
}
