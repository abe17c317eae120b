package mariadb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"slices"
	"strings"
)

// ObjectKind says what an object of a server is.
type ObjectKind string

// The kinds of objects.
const (
	ObjectSchema          ObjectKind = "SCHEMA"
	ObjectTable           ObjectKind = "TABLE"
	ObjectView            ObjectKind = "VIEW"
	ObjectSequence        ObjectKind = "SEQUENCE"
	ObjectRoutine         ObjectKind = "ROUTINE"
	ObjectTrigger         ObjectKind = "TRIGGER"
	ObjectEvent           ObjectKind = "EVENT"
	ObjectAccount         ObjectKind = "ACCOUNT"
	ObjectGrants          ObjectKind = "GRANTS"
	ObjectLibraryFunction ObjectKind = "LIBRARY_FUNCTION"
	ObjectLinkedServer    ObjectKind = "LINKED_SERVER"
	ObjectTimeZones       ObjectKind = "TIME_ZONES"
	ObjectCollation       ObjectKind = "COLLATION"
)

// Digests is the version of how objects are digested, and which are. The inventories of two
// versions are not comparable.
const Digests = 5

// Object is one object of the server and its definition.
type Object struct {
	Kind ObjectKind
	Name string
	// Digest is of the definition; empty when it could not be read.
	Digest string
	// Problem is why it cannot be opened; Busy says that another session's lock is the reason.
	Problem string
	Busy    bool
	// Value is a sequence's next value that is not reserved yet, and its cycle; of time zones their
	// number.
	Value string
	// Remote is true for a table whose engine keeps its rows outside of the datadir.
	Remote bool
}

// inventory reads the objects of one server, one at a time.
type inventory struct {
	conn    *sql.Conn
	replica bool
	names   map[string]bool // nil: all
	each    func(Object) error
}

// Inventory reports every object of the server, or those of the names, with a digest of its
// definition. On a replica each table is opened and a row of it is read, on a primary of those that
// may be discarded. No transaction stays open; nothing is written on a replica, also not by MariaDB
// itself, which logs that a MEMORY table was emptied by a restart when it is opened first.
func (s *Server) Inventory(ctx context.Context, names []string, each func(Object) error) error {
	const what = "cannot read the inventory"
	if err := s.require(ctx, what); err != nil {
		return err
	}
	conn, done, err := s.pinned(ctx)
	if err != nil {
		return failure(what, err)
	}
	defer done()
	connections, err := replications(ctx, conn)
	if err != nil {
		return failure(what, err)
	}
	i := &inventory{conn: conn, replica: len(connections) > 0, each: each}
	if len(names) > 0 {
		i.names = map[string]bool{}
		for _, name := range names {
			i.names[name] = true
		}
	}
	return failure(what, i.read(ctx))
}

func (i *inventory) read(ctx context.Context) error {
	// A statement of ours waits briefly for locks. A limit of its time would hide objects; see
	// whole. The statistics tables are not needed, and one that is damaged must not hide what is
	// asked.
	session := []string{"SET SESSION lock_wait_timeout = 2",
		"SET SESSION innodb_lock_wait_timeout = 2", "SET SESSION max_statement_time = 0",
		"SET SESSION use_stat_tables = 'never'",
		"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
		"SET SESSION net_write_timeout = 600"}
	if i.replica {
		session = append(session, "SET SESSION sql_log_bin = 0")
	}
	for _, statement := range session {
		if err := execute(ctx, i.conn, statement); err != nil {
			return err
		}
	}
	for _, section := range []func(context.Context) error{i.listed, i.zones, i.collations,
		i.tables, i.systemTables, i.accounts} {
		if err := section(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (i *inventory) wants(name string) bool { return i.names == nil || i.names[name] }

// listing is a kind of object that one statement reads with its digest.
type listing struct {
	kind      ObjectKind
	statement string
}

// digestOf hashes columns on the server, each by itself: a routine's body may be large, and what is
// longer than max_allowed_packet is NULL in MariaDB. NULL and an empty text differ.
func digestOf(columns ...string) string {
	parts := make([]string, len(columns))
	for n, c := range columns {
		parts[n] = "IFNULL(SHA2(" + c + ", 256), '-')"
	}
	return "SHA2(CONCAT_WS(',', " + strings.Join(parts, ", ") + "), 256) AS d"
}

// listings are the kinds but tables and accounts. When an object was made, changed or last run is
// not part of it. A replica disables the events that it applies (SLAVESIDE_DISABLED), and a primary
// those that are over, which its binary log does not tell.
func listings() []listing {
	const over = "COALESCE(execute_at, ends) <= UTC_TIMESTAMP()"
	return []listing{
		{ObjectSchema, "SELECT schema_name AS n, " + digestOf("default_character_set_name",
			"default_collation_name", "schema_comment") + " FROM information_schema.schemata " +
			"WHERE " + notAmong("schema_name", builtinSchemas)},
		{ObjectRoutine, "SELECT db AS s, CONCAT(name, ' ', LOWER(type)) AS n, " +
			digestOf("language", "sql_data_access", "is_deterministic", "security_type",
				"param_list", "returns", "body", "definer", "sql_mode", "comment",
				"character_set_client", "collation_connection", "db_collation", "aggregate") +
			" FROM mysql.proc WHERE " + definedByUser("db", "name")},
		{ObjectTrigger, "SELECT trigger_schema AS s, trigger_name AS n, " +
			digestOf("event_manipulation", "event_object_schema", "event_object_table",
				"action_order", "action_statement", "action_timing", "sql_mode", "definer",
				"character_set_client", "collation_connection", "database_collation") +
			" FROM information_schema.triggers WHERE " +
			definedByUser("trigger_schema", "trigger_name")},
		{ObjectEvent, "SELECT db AS s, name AS n, " + digestOf("body", "definer",
			"execute_at", "interval_value", "interval_field", "starts", "ends",
			"IF(status = 'DISABLED' AND "+over+" IS NOT TRUE, 'DISABLED', 'ENABLED')",
			"on_completion", "sql_mode",
			"comment", "time_zone", "character_set_client", "collation_connection",
			"db_collation") + " FROM mysql.event WHERE " + definedByUser("db", "name")},
		{ObjectLibraryFunction, "SELECT name AS n, " + digestOf("ret", "dl", "type") +
			" FROM mysql.func"},
		{ObjectLinkedServer, "SELECT server_name AS n, " + digestOf("host", "db", "username",
			"password", "port", "socket", "wrapper", "owner") + " FROM mysql.servers"},
	}
}

func (i *inventory) listed(ctx context.Context) error {
	for _, l := range listings() {
		rows, err := query(ctx, i.conn, l.statement)
		if err != nil {
			return err
		}
		for _, r := range rows {
			name := r["n"]
			if schema, within := r["s"]; within {
				name = tableName{schema, name}.String()
			}
			if !i.wants(name) {
				continue
			}
			if err := i.each(Object{Kind: l.kind, Name: name, Digest: r["d"]}); err != nil {
				return err
			}
		}
	}
	return nil
}

// accounts digests how each user and role authenticates, and what it may do.
func (i *inventory) accounts(ctx context.Context) error {
	rows, err := query(ctx, i.conn, "SELECT user AS u, host AS h, "+
		"IFNULL(JSON_VALUE(priv, '$.is_role'), 0) AS role, "+
		"JSON_VALUE(priv, '$.default_role') AS default_role FROM mysql.global_priv ORDER BY 1, 2")
	if err != nil {
		return err
	}
	for _, r := range rows {
		name := joined(r["u"], "@", r["h"])
		if !i.wants(name) {
			continue
		}
		account := literal(r["u"]) + "@" + literal(r["h"])
		made := "SHOW CREATE USER " + account
		if r.yes("role") {
			account, made = literal(r["u"]), ""
		}
		if err := i.account(ctx, Object{Kind: ObjectAccount, Name: name}, made,
			r["default_role"]); err != nil {
			return err
		}
		if err := i.account(ctx, Object{Kind: ObjectGrants, Name: name}, "SHOW GRANTS FOR "+
			account); err != nil {
			return err
		}
	}
	return nil
}

func (i *inventory) account(ctx context.Context, o Object, statement string,
	more ...string) error {
	lines := more
	if statement != "" {
		rows, err := query(ctx, i.conn, statement)
		if err != nil && !ofOneObject(err) {
			return err
		}
		o.fail(err)
		for _, r := range rows {
			for _, text := range r { // of one column; versions quote names in different ways
				lines = append(lines, strings.ReplaceAll(text, "`", "'"))
			}
		}
	}
	slices.Sort(lines)
	if o.Problem == "" {
		o.Digest = digest(strings.Join(lines, "\n"))
	}
	return i.each(o)
}

// ofOneObject is true for an error that MariaDB has with one object. A statement that was ended
// says nothing of it: of two servers that were asked meanwhile, neither would have opened it.
func ofOneObject(err error) bool {
	return ofOneTable(errno(err)) || errno(err) == errStatementTimeout
}

// fail notes MariaDB's error of one object: it says nothing about the others.
func (o *Object) fail(err error) {
	if err == nil {
		return
	}
	o.Problem, o.Busy, o.Digest = problem(err), errno(err) == errLockWaitTimeout, ""
}

// problem is an error of MariaDB about one object, of bounded length.
func problem(err error) string { return bounded(err.Error()) }

// bounded cuts a text that others may write.
func bounded(text string) string {
	const limit = 300
	text = strings.ToValidUTF8(text, "?")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return text
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
