package mariadb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// carried are the options without which a datadir is not read, or is read as another one: a replica
// runs with its source's values.
func carried() []string {
	return []string{"aria_block_size", "aria_log_dir_path", "innodb_checksum_algorithm",
		"innodb_data_file_path", "innodb_data_home_dir", "innodb_log_group_home_dir",
		"innodb_page_size", "innodb_undo_directory", "innodb_undo_tablespaces",
		"lower_case_table_names"}
}

// meant are options that statements depend on and no event of a binary log carries: with another
// value the same statement makes another table, or other rows.
func meant() []string {
	return append([]string{"character_set_server", "collation_server"},
		slices.DeleteFunc(compared(), func(name string) bool {
			return name == consistentpoint.StopwordFile // which a host has or has not
		})...)
}

// compared are those of meant that a replica always shares with its primary: an operator may have
// chosen another character set.
func compared() []string {
	return slices.Sorted(slices.Values(slices.Concat(consistentpoint.DefinitionSettings(),
		consistentpoint.RowSettings())))
}

// encrypting are the options of a server that has keys. With another algorithm the right keys
// decrypt a table to garbage.
func encrypting() []string {
	return []string{"aria_encrypt_tables", "encrypt_binlog",
		"file_key_management_encryption_algorithm", "innodb_encrypt_log", "innodb_encrypt_tables"}
}

func contractOptions() []string { return slices.Concat(carried(), meant(), encrypting()) }

var (
	contractValue = regexp.MustCompile(`^[A-Za-z0-9_./:;,=+-]*$`)
	booleanSyntax = regexp.MustCompile(`^[ -~]{1,14}$`)
	libraryName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// CheckDatadir refuses a running server that a snapshot of its volume would lack a file of, and
// reads what a host needs to read a copy.
func (s *Server) CheckDatadir(ctx context.Context) (*consistentpoint.Contract, error) {
	const what = "cannot check the datadir"
	if err := s.require(ctx, what); err != nil {
		return nil, err
	}
	var c *consistentpoint.Contract
	volume, err := s.datadirVolume(ctx)
	if err == nil {
		err = complete(ctx, s.db, volume)
	}
	if err == nil {
		err = imported(ctx, s.db)
	}
	if err == nil {
		c, err = contractOf(ctx, s.db)
	}
	return c, failure(what, err)
}

// contractOf reads it from the running server.
func contractOf(ctx context.Context, q querier) (*consistentpoint.Contract, error) {
	c := &consistentpoint.Contract{}
	if err := readLibraries(ctx, q, c); err != nil {
		return nil, err
	}
	names, err := column(ctx, q, "SELECT collation_name FROM information_schema.collations "+
		"WHERE is_compiled <> 'Yes'")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	c.Collations = names
	v, err := variables(ctx, q, append(contractOptions(), "datadir", keyFileOption)...)
	if err != nil {
		return nil, err
	}
	if err := readSysdate(ctx, q, v); err != nil {
		return nil, err
	}
	if err := readOptions(v, c); err != nil || c.KeyLibrary == "" {
		return c, err
	}
	return c, readKeys(ctx, q, v[keyFileOption], c)
}

// readOptions takes values as they are; a path into the datadir becomes a relative one.
func readOptions(v row, c *consistentpoint.Contract) error {
	c.Options = map[string]string{}
	for _, name := range contractOptions() {
		value, known := v[name]
		if !known || c.KeyLibrary == "" && slices.Contains(encrypting(), name) {
			continue
		}
		if filepath.IsAbs(value) && within(filepath.Clean(value), filepath.Clean(v["datadir"])) {
			below, err := filepath.Rel(v["datadir"], value)
			if err != nil {
				return err
			}
			value = "./" + strings.TrimPrefix(below, ".")
		}
		if name == ignoredDirs {
			value = hiding(value)
		}
		if value == "" && strings.HasSuffix(name, "_stopword_table") {
			continue // no option takes back the one of another file: it is compared once it runs
		}
		if !mayBeWritten(name, value) {
			return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING, fmt.Sprintf(
				"cannot give a replica option %s: its value %.100q has characters that an option "+
					"file may not keep", name, value),
				errs.WithHint("choose a value of letters, digits and ./:;,=+_-, restart MariaDB"))
		}
		c.Options[name] = value
	}
	return nil
}

// mayBeWritten is true for values of options of a contract that an option file keeps.
func mayBeWritten(name, value string) bool {
	if name == "ft_boolean_syntax" {
		return booleanSyntax.MatchString(value)
	}
	return contractValue.MatchString(value)
}

// readLibraries are those of active plugins and of functions. A plugin that only watches is not
// needed to read data.
func readLibraries(ctx context.Context, q querier, c *consistentpoint.Contract) error {
	plugins, err := query(ctx, q, "SELECT plugin_library AS library, plugin_type AS type "+
		"FROM information_schema.plugins WHERE plugin_status = 'ACTIVE' AND plugin_library "+
		"IS NOT NULL AND (plugin_type NOT IN ('AUDIT', 'DAEMON', 'INFORMATION SCHEMA', "+
		"'PASSWORD VALIDATION', 'REPLICATION') OR plugin_name LIKE 'provider%')")
	if err != nil {
		return err
	}
	installed, err := column(ctx, q, "SELECT dl FROM mysql.plugin")
	if err != nil {
		return err
	}
	if c.Libraries, err = column(ctx, q, "SELECT dl FROM mysql.func"); err != nil {
		return err
	}
	for _, p := range plugins {
		c.Libraries = append(c.Libraries, p["library"])
		named := slices.ContainsFunc(installed,
			func(dl string) bool { return libraryFile(dl) == p["library"] })
		if p["type"] == "ENCRYPTION" {
			c.KeyLibrary = p["library"]
		} else if !named {
			c.Preload = append(c.Preload, p["library"])
		}
	}
	for _, list := range []*[]string{&c.Libraries, &c.Preload} {
		for i, name := range *list {
			(*list)[i] = libraryFile(name)
		}
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return nil
}

// libraryFile is a library's file: its ending may be left out where it is named.
func libraryFile(name string) string { return strings.TrimSuffix(name, ".so") + ".so" }

const keyFileOption = "file_key_management_filename"

// readKeys reads the ids in use, and the fingerprint of the file that the keys are in.
func readKeys(ctx context.Context, q querier, file string, c *consistentpoint.Contract) error {
	ids, err := query(ctx, q, "SELECT current_key_id AS id FROM information_schema."+
		"innodb_tablespaces_encryption WHERE encryption_scheme <> 0")
	if err != nil {
		return err
	}
	for _, r := range ids {
		c.KeyIDs = append(c.KeyIDs, uint32(r.number("id")))
	}
	slices.Sort(c.KeyIDs)
	c.KeyIDs = slices.Compact(c.KeyIDs)
	if file == "" {
		return nil
	}
	c.KeyFingerprint, err = fingerprint(file)
	return err
}

// mostKeys bounds a file of keys.
const mostKeys = 1 << 20

// fingerprint tells a file of keys from another one and says nothing about the keys.
func fingerprint(path string) (string, error) {
	keys, err := untrusted.ReadFile(path, mostKeys)
	if err != nil {
		return "", fmt.Errorf("cannot read the file of the encryption keys: %w", err)
	}
	sum := sha256.Sum256(append([]byte("understudy key file\n"), keys...))
	return hex.EncodeToString(sum[:]), nil
}

// CheckContract names each part that cannot be written into an option file, or looked for.
func CheckContract(c *consistentpoint.Contract, say func(field, why string)) {
	if c == nil {
		return
	}
	for name, value := range c.Options {
		if !slices.Contains(contractOptions(), name) {
			say("contract.options", "has an option that is not of a datadir")
		} else if !mayBeWritten(name, value) {
			say("contract.options", "has a value with characters that an option file may not keep")
		}
	}
	for _, name := range slices.Concat(c.Libraries, c.Preload, []string{c.KeyLibrary}) {
		if name != "" && !libraryName.MatchString(name) {
			say("contract.libraries", "must be names of files without a directory")
		}
	}
}

// contractSettings are the options of a contract, but those that are set anyhow. A character set
// and its collation are set together, or neither is.
func contractSettings(c *consistentpoint.Contract, extra map[string]string) []Option {
	if c == nil {
		return nil
	}
	_, charset := extra["character_set_server"]
	_, collation := extra["collation_server"]
	var all []Option
	for _, name := range contractOptions() {
		value, has := c.Options[name]
		_, given := extra[name]
		given = given || (charset || collation) && (name == "character_set_server" ||
			name == "collation_server")
		if has && !given {
			all = append(all, written(name, value)...)
		}
	}
	if len(c.Preload) > 0 {
		all = append(all, set("plugin_load_add", strings.Join(c.Preload, ";")))
	}
	return all
}

const ignoredDirs = "ignore_db_dirs"

// written is a setting as options: a list is begun anew, for MariaDB adds to what other files have.
func written(name, value string) []Option {
	if name != ignoredDirs || value == "" {
		return []Option{set(name, value)}
	}
	all := []Option{set(name, "")}
	for dir := range strings.SplitSeq(value, ",") {
		all = append(all, set(name, dir))
	}
	return all
}

// hiding are the names of a list of ignored directories that hide schemas. MariaDB adds its own,
// "#binlog_cache_files", to those that it is given: no schema's directory begins like that.
func hiding(dirs string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(dirs, ","),
		func(dir string) bool { return dir == "" || strings.HasPrefix(dir, "#") }), ",")
}
