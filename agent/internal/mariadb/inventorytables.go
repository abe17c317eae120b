package mariadb

import "context"

// errStatementTimeout says that max_statement_time is over.
const errStatementTimeout = 1969

func (i *inventory) tables(ctx context.Context) error {
	all, err := i.listTables(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		o, err := i.table(ctx, t)
		if err == nil {
			err = i.each(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listTables are the tables and views that users made.
func (i *inventory) listTables(ctx context.Context) ([]table, error) {
	own := map[tableName]bool{}
	err := each(ctx, i.conn, "SELECT table_schema AS s, table_name AS n FROM "+
		"information_schema.views WHERE table_schema = 'sys' AND definer IN ("+ownDefiners+")",
		func(r row) error {
			own[tableName{r["s"], r["n"]}] = true
			return tooMany(len(own), mostTables, "views in sys")
		})
	if err != nil {
		return nil, err
	}
	suspects, err := spaceless(ctx, i.conn)
	if err != nil {
		return nil, err
	}
	var all []table
	err = each(ctx, i.conn, "SELECT table_schema AS s, table_name AS n, table_type AS t, "+
		"engine AS e, "+filesOfTable+" AS f FROM information_schema.tables WHERE "+
		"table_type <> 'SYSTEM VIEW' AND "+tableNotBuiltin(), func(r row) error {
		t := table{tableName: tableName{r["s"], r["n"]}, kind: r["t"], engine: r["e"],
			spaceless: suspects[r["f"]]}
		if i.wants(t.String()) && !own[t.tableName] {
			all = append(all, t)
		}
		return tooMany(len(all), mostTables, "tables and views")
	})
	return all, err
}

func (i *inventory) table(ctx context.Context, t table) (Object, error) {
	o := Object{Kind: ObjectTable, Name: t.String()}
	var err error
	switch t.kind {
	case "VIEW":
		o.Kind = ObjectView
		err = i.view(ctx, t.tableName, &o)
	case "SEQUENCE":
		o.Kind = ObjectSequence
		err = i.sequence(ctx, t.tableName, t.engine, &o)
	default:
		var created row
		o.Remote = t.remote()
		created, err = one(ctx, i.conn, "SHOW CREATE TABLE "+t.sql())
		o.Digest = definitionHash(created["create table"])
		switch {
		case err != nil:
		case i.replica && o.Remote: // made since its copy, which would be refused now
			o.Problem, o.Digest = "engine "+t.engine+" keeps its rows outside of the datadir, "+
				"where a replica changes them once more", ""
		case i.replica:
			err = i.open(ctx, t.tableName, t.kind)
		case t.spaceless:
			err = isDiscarded(ctx, i.conn, t.tableName)
		}
	}
	if err != nil && ofOneObject(err) {
		o.fail(err)
		err = nil
	}
	return o, err
}

func (i *inventory) view(ctx context.Context, name tableName, o *Object) error {
	created, err := one(ctx, i.conn, "SHOW CREATE VIEW "+name.sql())
	o.Digest = digest(created["create view"] + "\n" + created["character_set_client"] + "\n" +
		created["collation_connection"])
	return err
}

// sequence reads the definition's columns: SHOW CREATE SEQUENCE spells it by version.
func (i *inventory) sequence(ctx context.Context, name tableName, engine string,
	o *Object) error {
	r, err := one(ctx, i.conn, "SELECT CONCAT_WS(',', minimum_value, maximum_value, start_value, "+
		"increment, cache_size, cycle_option) AS d, CONCAT(next_not_cached_value, ' in cycle ', "+
		"cycle_count) AS v FROM "+name.sql())
	o.Digest, o.Value = digest(engine+","+r["d"]), r["v"]
	return err
}

// open reads a row by the table's own rows, not by an index: the file of its rows is there and can
// be read. A table that holds its rows back for longer than a statement of ours may take is open.
func (i *inventory) open(ctx context.Context, name tableName, kind string) error {
	history := ""
	if kind == "SYSTEM VERSIONED" {
		history = " FOR SYSTEM_TIME ALL"
	}
	_, err := one(ctx, i.conn, "SET STATEMENT max_statement_time = 5 FOR SELECT 1 FROM "+
		name.sql()+history+" USE INDEX () LIMIT 1")
	if errno(err) == errStatementTimeout {
		return nil
	}
	return err
}

// systemTables opens MariaDB's own tables on a replica and reports those that cannot be.
func (i *inventory) systemTables(ctx context.Context) error {
	if !i.replica {
		return nil
	}
	rows, err := query(ctx, i.conn, "SELECT table_schema AS s, table_name AS n, table_type AS t "+
		"FROM information_schema.tables WHERE table_type <> 'VIEW' AND table_schema = 'mysql' "+
		"AND NOT "+tableNotBuiltin())
	if err != nil {
		return err
	}
	for _, r := range rows {
		name := tableName{r["s"], r["n"]}
		err := i.open(ctx, name, r["t"])
		if err != nil && !ofOneObject(err) {
			return err
		}
		if err == nil || !i.wants(name.String()) {
			continue
		}
		o := Object{Kind: ObjectTable, Name: name.String()}
		o.fail(err)
		if err := i.each(o); err != nil {
			return err
		}
	}
	return nil
}
