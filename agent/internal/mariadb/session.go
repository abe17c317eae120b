package mariadb

// sessionSettings is what each session of ours sets at its begin, as SQL values by variable. It
// leaves nothing that it relies on to a global default: operators change these, also in the
// running server.
func sessionSettings() map[string]string {
	return map[string]string{
		"sql_mode": "''", "old_mode": "''", "time_zone": "'+00:00'", "lc_messages": "'en_US'",

		"autocommit": "1", "completion_type": "'NO_CHAIN'", "tx_isolation": "'REPEATABLE-READ'",
		"tx_read_only": "0",

		// The statements that write are few and known; their rows are logged as rows.
		"sql_log_bin": "1", "binlog_format": "'ROW'", "binlog_row_image": "'FULL'",
		"skip_replication": "0", "foreign_key_checks": "1", "unique_checks": "1",

		// The context of a call ends its statements; these are for what it cannot end.
		"max_statement_time": "0", "lock_wait_timeout": "60", "innodb_lock_wait_timeout": "50",
		"wait_timeout": "28800", "net_read_timeout": "60", "net_write_timeout": "600",
		"idle_transaction_timeout": "0", "idle_readonly_transaction_timeout": "0",
		"idle_write_transaction_timeout": "0", "max_session_mem_used": "9223372036854775807",

		// A list that was cut short would pass for a whole one.
		"sql_select_limit": "18446744073709551615", "max_join_size": "18446744073709551615",
		"sql_big_selects": "1", "sql_safe_updates": "0", "group_concat_max_len": "16777216",
		"query_cache_type": "0", "sql_quote_show_create": "1", "sql_auto_is_null": "0",
	}
}
