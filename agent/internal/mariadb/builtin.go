package mariadb

import "strings"

// builtinSchemas is a list for SQL of the schemas that MariaDB makes itself.
const builtinSchemas = "'mysql','information_schema','performance_schema','sys'"

// ownInMySQL are what MariaDB from 10.6 to 11.8 and its plugins have in the schema mysql, tables
// and procedures alike; their contents go with the version. Everything else in it is a user's. From
// mariadb_system_tables.sql, and what Galera, Spider, mariadb-backup and the password plugins make.
var ownInMySQL = strings.Fields(`
	column_stats columns_priv db event func general_log global_priv help_category help_keyword
	help_relation help_topic host index_stats innodb_index_stats innodb_table_stats
	mariadb_backup_history ndb_binlog_index password_reuse_check_history plugin proc procs_priv
	proxies_priv roles_mapping servers slow_log table_stats tables_priv time_zone
	time_zone_leap_second time_zone_name time_zone_transition time_zone_transition_type
	transaction_registry user

	spider_link_failed_log spider_link_mon_servers spider_table_crd
	spider_table_position_for_recovery spider_table_sts spider_tables spider_xa
	spider_xa_failed_log spider_xa_member
	wsrep_allowlist wsrep_cluster wsrep_cluster_members wsrep_streaming_log

	AddGeometryColumn DropGeometryColumn`)

// notBuiltin is the condition that a user made an object: it is in a schema of the user's, or in
// the schema mysql beside what is MariaDB's own. Replicas may have the position of each engine.
func notBuiltin(schema, name string) string {
	return "(" + notAmong(schema, builtinSchemas) + " OR BINARY " + schema + " = 'mysql' AND " +
		notAmong(name, "'"+strings.Join(ownInMySQL, "','")+"'") + " AND BINARY " + name +
		" NOT LIKE 'gtid\\_slave\\_pos%')"
}
