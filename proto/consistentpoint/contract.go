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
