//go:build lab

package mariadb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// source is a server with options of its own.
func source(t *testing.T, root, options string, statements ...string) *mariadbtest.Instance {
	t.Helper()
	i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true, Config: options})
	i.Run()
	i.Exec(append([]string{"CREATE DATABASE app"}, statements...)...)
	return i
}

func TestACopyRunsWithTheOptionsOfItsDatadir(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		stopwords := filepath.Join(t.TempDir(), "stop.txt")
		must(t, os.WriteFile(stopwords, []byte("der die das"), 0o644))
		primary := source(t, root, "innodb_data_home_dir=\n"+
			"innodb_data_file_path=ibdata1:12M;ibdata2:12M:autoextend\nlower_case_table_names=1\n"+
			"plugin_load_add=ha_archive\ncharacter_set_server=latin1\n"+
			"default_storage_engine=Aria\nenforce_storage_engine=\ninnodb_undo_directory=.\n"+
			"old_mode=\ngroup_concat_max_len=100\ndefault_regex_flags=DOTALL\n"+
			"sysdate_is_now\nmax_recursive_iterations=5\ninnodb_ft_min_token_size=1\n"+
			"ft_min_word_len=2\n"+
			"ignore_db_dirs=lost+found\nignore_db_dirs=hidden\nft_query_expansion_limit=5\n"+
			`ft_boolean_syntax="+ -><()\\*:##&|"`+"\nft_stopword_file="+stopwords+
			"\ninnodb_ft_server_stopword_table=app/stop",
			"CREATE TABLE app.stop (value VARCHAR(30)) ENGINE=InnoDB",
			"CREATE TABLE App.T (id INT) ENGINE=ARCHIVE", "INSERT INTO app.t VALUES (7)",
			"INSTALL SONAME 'ha_blackhole'", "CREATE TABLE app.b (id INT) ENGINE=BLACKHOLE")
		replica, point := mariadbtest.CopyOf(t, primary, mariadbtest.Options{Root: root,
			Config: "innodb_data_file_path=ibdata1:12M:autoextend\nenforce_storage_engine=" +
				"InnoDB\nignore_db_dirs=other\naria_log_dir_path=" + t.TempDir()})
		if p := point.Contract.Preload; len(p) != 1 || p[0] != "ha_archive.so" {
			t.Errorf("options load %q", p)
		}
		replica.Run()
		for query, want := range map[string]string{"SELECT id FROM app.t": "7",
			"SELECT COUNT(*) FROM app.b":       "0",
			"SELECT @@lower_case_table_names":  "1",
			"SELECT @@innodb_data_file_path":   "ibdata1:12M;ibdata2:12M:autoextend",
			"SELECT @@character_set_server":    "latin1",
			"SELECT @@default_storage_engine":  "Aria",
			"SELECT @@enforce_storage_engine":  "",
			"SELECT @@old_mode":                "",
			"SELECT @@innodb_undo_tablespaces": primary.Value("SELECT @@innodb_undo_tablespaces"),
			"SELECT @@innodb_page_size":        "16384",
			"SELECT CONCAT_WS(' ', @@group_concat_max_len, @@default_regex_flags, " +
				"@@max_recursive_iterations, @@innodb_ft_min_token_size, @@ft_min_word_len)": "" +
				"100 DOTALL 5 1 2",
			"SELECT @@ignore_db_dirs": primary.Value("SELECT @@ignore_db_dirs"),
			"SELECT CONCAT_WS(' ', @@ft_boolean_syntax, @@ft_query_expansion_limit, " +
				"@@innodb_ft_server_stopword_table)": `+ -><()\*:##&| 5 app/stop`,
			"SELECT COUNT(*) FROM mysql.global_priv": primary.Value(
				"SELECT COUNT(*) FROM mysql.global_priv")} {
			if got := replica.Value(query); got != want {
				t.Errorf("%s: %q, not %q", query, got, want)
			}
		}
		status, err := replica.Status(t.Context())
		if err != nil || len(status.Live.Mismatches) > 0 {
			t.Errorf("runs with %v %v", status.Live.Mismatches, err)
		}
		its := status.Live.Settings
		status, err = primary.Status(t.Context())
		must(t, err)
		words := status.Live.Settings["ft_stopword_file"]
		if is := its["sysdate_is_now"]; is != "ON" {
			t.Errorf("sysdate_is_now: %q", is)
		}
		for name, want := range status.Live.Settings {
			if slices.Contains(consistentpoint.RowSettings(), name) && its[name] != want &&
				name != "ft_stopword_file" {
				t.Errorf("%s: %q, not %q", name, its[name], want)
			}
		}
		if !strings.HasPrefix(words, "file with SHA-256 ") ||
			its["ft_stopword_file"] != "(built-in)" {
			t.Errorf("stop words: %q and %q", words, its["ft_stopword_file"])
		}
	})
}

// refused is a copy that this host must not start.
func refused(t *testing.T, replica *mariadbtest.Instance, c *consistentpoint.Contract,
	named ...string) {
	t.Helper()
	_, err := replica.Datadirs.Prepare(t.Context(), mariadb.DatadirPlan{Copy: true, Contract: c})
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_HOST_UNFIT {
		t.Errorf("%v", err)
		return
	}
	for _, want := range named {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

const keyOptions = "plugin_load_add=file_key_management\nfile_key_management_filename="

// keysIn is a new file of keys.
func keysIn(t *testing.T, i *mariadbtest.Instance, key string) string {
	t.Helper()
	path := filepath.Join(i.Dir, "keys")
	must(t, os.WriteFile(path, []byte("1;"+strings.Repeat(key, 32)+"\n7;"+
		strings.Repeat(key, 64)+"\n"), 0o600))
	return path
}

// configured adds options to an instance that does not run yet.
func configured(t *testing.T, i *mariadbtest.Instance, options string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(i.Dir, "conf.d/own.cnf"), []byte("[mariadbd]\n"+
		options+"\n"), 0o644))
}

func TestAnEncryptedCopyStartsWithItsKeysAlone(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
		configured(t, primary, keyOptions+keysIn(t, primary, "a")+"\ninnodb_encrypt_tables=ON"+
			"\nfile_key_management_encryption_algorithm=AES_CTR")
		primary.Run()
		primary.Exec("CREATE DATABASE app",
			"CREATE TABLE app.sec (id INT PRIMARY KEY) ENCRYPTED=YES ENCRYPTION_KEY_ID=7",
			"INSERT INTO app.sec VALUES (7)")
		primary.Stop() // the row is in the encrypted table then, and in no log that recovers it
		primary.Run()
		replica := mariadbtest.New(t, mariadbtest.Options{Root: root})
		point := mariadbtest.Copy(t, primary, replica.Datadir)
		c := point.Contract
		if c.KeyLibrary != "file_key_management.so" || c.KeyFingerprint == "" {
			t.Fatalf("%+v", c)
		}
		refused(t, replica, c, "plugin_load_add=file_key_management")
		configured(t, replica, "plugin_load_add=file_key_management")
		refused(t, replica, c, "file_key_management_filename")
		configured(t, replica, keyOptions+filepath.Join(replica.Dir, "keys"))
		refused(t, replica, c, "keys")
		keysIn(t, replica, "b")
		refused(t, replica, c, "is another file")
		keysIn(t, replica, "a")
		_, err := replica.Datadirs.Prepare(t.Context(),
			mariadb.DatadirPlan{Copy: true, Contract: c})
		must(t, err)
		settings := replica.Settings(2)
		settings.Contract = c
		_, err = replica.Configuration.Set(t.Context(), settings)
		must(t, err)
		replica.Run()
		if got := replica.Value("SELECT CONCAT(id, @@innodb_encrypt_tables) FROM app.sec"); got !=
			"7ON" {
			t.Errorf("the table has %s", got)
		}
	})
}

func TestACopyNeedsItsPluginsAndCollations(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
		dir := filepath.Join(i.Dir, "charsets")
		charsets(t, root, dir, "latin1_german1_ci")
		configured(t, i, "character_sets_dir="+dir)
		i.Run()
		i.Exec("CREATE DATABASE app", "CREATE TABLE app.t (a VARCHAR(9) COLLATE latin1_own_ci)")
		c, err := i.Server.CheckDatadir(t.Context())
		must(t, err)
		i.Stop()
		c.Libraries = append(c.Libraries, "ha_far.so")
		configured(t, i, "")
		refused(t, i, c, "collation latin1_own_ci", "/usr/lib/mysql/plugin/ha_far.so")
		configured(t, i, "character_sets_dir="+dir)
		c.Libraries = nil
		_, err = i.Datadirs.Prepare(t.Context(), mariadb.DatadirPlan{Copy: true, Contract: c})
		must(t, err)
	})
}

// TestACollationWithAnotherOrderIsAnotherObject has one name for two, as two hosts may.
func TestACollationWithAnotherOrderIsAnotherObject(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
		seen := map[string]bool{}
		for _, like := range []string{"latin1_german1_ci", "latin1_danish_ci"} {
			dir := filepath.Join(i.Dir, like)
			charsets(t, root, dir, like)
			configured(t, i, "character_sets_dir="+dir)
			i.Run()
			o := inventoryOf(t, i)["COLLATION latin1_own_ci"]
			if o.Digest == "" || seen[o.Digest] {
				t.Errorf("like %s: %+v", like, o)
			}
			seen[o.Digest] = true
			i.Stop()
		}
	})
}

// TestTheOrderOfLettersOfOtherScripts has two hosts with one name for two orders, which differ in
// Han letters alone.
func TestTheOrderOfLettersOfOtherScripts(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		seen := map[string]bool{}
		for n, rules := range []string{"<reset>a</reset><s>\\u1000</s>",
			"<reset>a</reset><s>\\u1000</s><reset>\\u4E2D</reset><s>\\u6587</s>"} {
			i := mariadbtest.New(t, mariadbtest.Options{Root: root, Install: true})
			dir := filepath.Join(i.Dir, fmt.Sprint("charsets", n))
			charsets(t, root, dir, "latin1_general_ci")
			index := filepath.Join(dir, "Index.xml")
			text, err := os.ReadFile(index)
			must(t, err)
			must(t, os.WriteFile(index, []byte(strings.Replace(string(text),
				`<charset name="utf8mb3">`, `<charset name="utf8mb3">
  <collation name="utf8mb3_own_ci" id="1029"><rules>`+rules+`</rules></collation>`, 1)), 0o644))
			configured(t, i, "character_sets_dir="+dir)
			i.Run()
			o := inventoryOf(t, i)["COLLATION utf8mb3_own_ci"]
			if o.Digest == "" || seen[o.Digest] {
				t.Errorf("rules %s: %+v", rules, o)
			}
			seen[o.Digest] = true
			i.Stop()
		}
	})
}

// charsets are the version's own, where one collation is under another name.
func charsets(t *testing.T, root, dir, like string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "usr/share/m*/charsets/*.xml"))
	must(t, err)
	must(t, os.Mkdir(dir, 0o755))
	for _, path := range found {
		text, err := os.ReadFile(path)
		must(t, err)
		own := strings.Replace(string(text), `<charset name="latin1">`, `<charset name="latin1">
  <collation name="latin1_own_ci" id="999"/>`, 1)
		if filepath.Base(path) == "latin1.xml" {
			own = strings.Replace(string(text), `<collation name="`+like+`"`,
				`<collation name="latin1_own_ci" id="999"`, 1)
		}
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(own), 0o644))
	}
}
