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

// DefinitionSettings are settings that definitions of tables depend on, and no event of a binary
// log carries.
func DefinitionSettings() []string {
	return []string{"default_storage_engine", "enforce_storage_engine",
		"innodb_compression_default", "innodb_default_row_format", "old_mode"}
}

// RowSettings are those that rows depend on, when their change is logged as a statement.
func RowSettings() []string {
	return append(StaticSettings(), "default_regex_flags", "default_week_format",
		"div_precision_increment", "group_concat_max_len", "innodb_ft_enable_stopword",
		"max_recursive_iterations")
}

// StaticSettings are those of RowSettings that a running server does not take.
func StaticSettings() []string {
	return []string{"ft_max_word_len", "ft_min_word_len", "innodb_ft_max_token_size",
		"innodb_ft_min_token_size"}
}
