package mariadb

import "strings"

// builtinSchemas is a list for SQL of the schemas that MariaDB makes itself. Users make something
// in two of them: mysql, where what is MariaDB's own is known by name, and sys, where it is by
// definer.
const builtinSchemas = "'mysql','information_schema','performance_schema','sys'"

// ownInMySQL are what MariaDB from 10.6 to 11.8 and its plugins have in the schema mysql, tables
// and procedures alike; their contents go with the version. Everything else in it is a user's. From
// mariadb_system_tables.sql, what upgrades leave of releases before, and what Galera, Spider,
// mariadb-backup and the password plugins make.
var ownInMySQL = strings.Fields(`
	column_stats columns_priv db event func global_priv help_category help_keyword
	help_relation help_topic index_stats innodb_index_stats innodb_table_stats
	mariadb_backup_history password_reuse_check_history plugin proc procs_priv
	proxies_priv roles_mapping servers table_stats tables_priv time_zone
	time_zone_leap_second time_zone_name time_zone_transition time_zone_transition_type
	transaction_registry user

	engine_cost gtid_executed host ndb_binlog_index server_cost slave_master_info
	slave_relay_log_info slave_worker_info

	spider_link_failed_log spider_link_mon_servers spider_table_crd
	spider_table_position_for_recovery spider_table_sts spider_tables spider_xa
	spider_xa_failed_log spider_xa_member
	wsrep_allowlist wsrep_cluster wsrep_cluster_members wsrep_streaming_log

	AddGeometryColumn DropGeometryColumn`)

const (
	// writtenByEach is how tables of mysql begin that each server writes for itself: logs, also one
	// that was renamed to begin another, and positions, which it may have of each engine.
	writtenByEach = "'^(general_log|gtid_slave_pos|slow_log)'"
	// ownDefiners are those of everything of MariaDB's in sys but the table sys_config.
	ownDefiners = "'mariadb.sys@localhost','mysql.sys@localhost'"
)

// notBuiltin is the condition that a user made an object: it is in a schema of the user's, or
// beside what is MariaDB's own in mysql, or in sys, where another condition is inSys.
func notBuiltin(schema, name, inSys string) string {
	return "(" + notAmong(schema, builtinSchemas) + " OR BINARY " + schema + " = 'mysql' AND " +
		notAmong(name, "'"+strings.Join(ownInMySQL, "','")+"'") + " AND BINARY " + name +
		" NOT REGEXP " + writtenByEach + " OR BINARY " + schema + " = 'sys' AND " + inSys + ")"
}

// tableNotBuiltin is that condition for a table or view of information_schema.tables, which has no
// definer: views of sys are told apart by who reads them.
func tableNotBuiltin() string {
	return notBuiltin("table_schema", "table_name", "table_name <> 'sys_config'")
}

// definedByUser is that condition for what has a definer.
func definedByUser(schema, name string) string {
	return notBuiltin(schema, name, "definer NOT IN ("+ownDefiners+")")
}
