package mariadb

import "slices"

// Elsewhere are variables whose files may be on another volume than the datadir, and why.
type Elsewhere struct {
	Reason    string
	Variables []string
}

// MayBeElsewhere is the whole list. A variable that is not on it must lead to the volume, also one
// of a plugin that nobody here knows.
func MayBeElsewhere() []Elsewhere {
	return []Elsewhere{
		{"temporary files: they end with the server", []string{"tmpdir", "slave_load_tmpdir",
			"innodb_tmpdir", "innodb_temp_data_file_path", "rocksdb_tmpdir"}},
		{"logs that no server reads back", []string{"log_error", "general_log_file",
			"slow_query_log_file", "log_slow_query_file", "server_audit_file_path",
			"sql_error_log_filename"}},
		{"what exists while the server runs, or warms it up", []string{"pid_file", "socket",
			"extra_socket", "innodb_buffer_pool_filename"}},
		{"programs and their files: a replica's host has its own", []string{"basedir",
			"plugin_dir", "character_sets_dir", "lc_messages_dir", "wsrep_provider",
			"ft_stopword_file"}},
		{"certificates: a replica gets its own", []string{"ssl_ca", "ssl_capath", "ssl_cert",
			"ssl_key", "ssl_crl", "ssl_crlpath"}},
		{"files that statements read or write", []string{"init_file", "secure_file_priv"}},
		{"relay logs: a copy starts without any", []string{"relay_log",
			"relay_log_basename", "relay_log_index", "relay_log_info_file"}},
		{"keys: they never lie beside what they encrypt; a replica's host must have them",
			[]string{"file_key_management_filename", "file_key_management_filekey",
				"hashicorp_key_management_vault_ca"}},
	}
}

func mayBeElsewhere(variable string) bool {
	return slices.ContainsFunc(MayBeElsewhere(),
		func(e Elsewhere) bool { return slices.Contains(e.Variables, variable) })
}
