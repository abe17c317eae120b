package consistentpoint

// Contract is what a host needs to read a copy of a datadir.
type Contract struct {
	// Options are those that a server must run with on it, by name.
	Options map[string]string `json:"options,omitempty"`
	// Libraries are the shared libraries that its tables, accounts and functions need; Preload are
	// those of them that an option of the server loads.
	Libraries []string `json:"libraries,omitempty"`
	Preload   []string `json:"preload,omitempty"`
	// Collations are those that are not built into the server.
	Collations []string `json:"collations,omitempty"`
	// KeyLibrary is of the plugin with the keys, KeyFingerprint of its file, in hexadecimal; KeyIDs
	// are those that tablespaces use.
	KeyLibrary     string   `json:"key_library,omitempty"`
	KeyFingerprint string   `json:"key_fingerprint,omitempty"`
	KeyIDs         []uint32 `json:"key_ids,omitempty"`
}

// DefinitionSettings are settings that definitions depend on, and no event of a binary log carries.
// A schema whose name is in ignore_db_dirs is on the volume, and to nobody's knowledge.
func DefinitionSettings() []string {
	return []string{"default_storage_engine", "enforce_storage_engine", "ignore_db_dirs",
		"innodb_compression_default", "innodb_default_row_format", "innodb_strict_mode",
		"mhnsw_default_distance", "mhnsw_default_m", "mysql56_temporal_format", "old_mode",
		SysdateIsNow}
}

// RowSettings are those that rows depend on, when their change is logged as a statement.
func RowSettings() []string {
	return []string{"block_encryption_mode", "default_regex_flags", "default_week_format",
		"div_precision_increment", "ft_boolean_syntax", "ft_max_word_len",
		"ft_min_word_len", "ft_query_expansion_limit", StopwordFile, "group_concat_max_len",
		"innodb_ft_enable_stopword", "innodb_ft_max_token_size", "innodb_ft_min_token_size",
		"innodb_ft_server_stopword_table", "innodb_ft_user_stopword_table",
		"max_allowed_packet", "max_recursive_iterations", "old_passwords"}
}

// SysdateIsNow is an option that no variable tells: what SYSDATE() is tells it. A default value of
// a new column may be that.
const SysdateIsNow = "sysdate_is_now"

// StopwordFile is the setting that names a file of the host. What the file has is compared, and is
// told for its name; of a file that nobody could read the value ends in Unread, and says nothing of
// whether two of them are the same.
const (
	StopwordFile = "ft_stopword_file"
	Unread       = ", which cannot be read"
)

// StaticSettings are those of both that a running server does not take.
func StaticSettings() []string {
	return []string{"ft_max_word_len", "ft_min_word_len", "ft_query_expansion_limit", StopwordFile,
		"ignore_db_dirs", "innodb_ft_max_token_size", "innodb_ft_min_token_size", SysdateIsNow}
}

// ToldWith is a setting that is never empty, and that every agent tells which tells this one: of
// another agent nothing is known of it.
func ToldWith(name string) string {
	switch name {
	case SysdateIsNow, "innodb_strict_mode", "max_allowed_packet", "mysql56_temporal_format":
		return name
	case "block_encryption_mode", "old_passwords", "ft_boolean_syntax",
		"ft_query_expansion_limit", StopwordFile, "ignore_db_dirs",
		"innodb_ft_server_stopword_table", "innodb_ft_user_stopword_table":
		return "ft_query_expansion_limit"
	}
	return "group_concat_max_len"
}
