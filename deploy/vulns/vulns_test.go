package vulns_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	update = flag.Bool("update", false, "write the snapshot")
	from   = flag.String("from", "", "folder with the entries: data/osv of a clone of vulndb")
	commit = flag.String("commit", "", "commit that the folder is of")
	at     = flag.String("at", "", "date of that commit, RFC 3339")
)

const (
	database = "db"
	// about says which entries the snapshot has, and what it was made of.
	about = database + "/ABOUT"
)

// entry is what matters here of an entry of the database.
type entry struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Affected []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
	} `json:"affected"`
}

// module is what the index says of a module: all its entries, whatever the version.
type module struct {
	Path  string `json:"path"`
	Vulns []vuln `json:"vulns"`
}

type vuln struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
}

// modules are those of go.mod, and Go itself.
func modules(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"stdlib", "toolchain"}
	required := regexp.MustCompile(`(?m)^(?:require )?\t?([a-z0-9.-]+\.[a-z]+/\S+) v[0-9]\S*`)
	for _, found := range required.FindAllStringSubmatch(string(data), -1) {
		all = append(all, found[1])
	}
	if len(all) < 50 {
		t.Fatalf("go.mod is not read: it has %d modules", len(all))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A module that is required since the snapshot was made would pass whatever is wrong with it.
func TestTheSnapshotIsAboutAllModules(t *testing.T) {
	if *update {
		write(t)
	}
	data, err := os.ReadFile(about)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for _, path := range modules(t) {
		if !slices.Contains(lines, path) {
			t.Errorf("the snapshot does not say what is wrong with %s: clone "+
				"https://github.com/golang/vulndb and run `go test ./deploy/vulns -update -from "+
				"CLONE/data/osv -commit COMMIT -at DATE`", path)
		}
	}
}

// The index has each entry, and each entry its file.
func TestTheSnapshotIsWhole(t *testing.T) {
	var index []module
	read(t, database+"/index/modules.json", &index)
	indexed := map[string]bool{}
	for _, m := range index {
		for _, v := range m.Vulns {
			indexed[v.ID] = true
		}
	}
	files, err := filepath.Glob(database + "/ID/*.json")
	if err != nil || len(files) != len(indexed) || len(files) == 0 {
		t.Errorf("%d files, %d entries in the index, %v", len(files), len(indexed), err)
	}
	for _, file := range files {
		var e entry
		if read(t, file, &e); e.ID+".json" != filepath.Base(file) || !indexed[e.ID] {
			t.Errorf("%s is about %s", file, e.ID)
		}
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// write makes the snapshot of the entries in the folder.
func write(t *testing.T) {
	t.Helper()
	wanted, paths := modules(t), map[string][]vuln{}
	files, err := filepath.Glob(filepath.Join(*from, "*.json"))
	if err != nil || len(files) == 0 || *commit == "" {
		t.Fatalf("-from %q has %d entries, -commit is %q: %v", *from, len(files), *commit, err)
	}
	modified, err := time.Parse(time.RFC3339, *at)
	must(t, err)
	must(t, os.RemoveAll(database))
	must(t, os.MkdirAll(database+"/ID", 0o755))
	must(t, os.MkdirAll(database+"/index", 0o755))
	for _, file := range files {
		var e entry
		read(t, file, &e)
		kept := false
		for _, a := range e.Affected {
			path := a.Package.Name
			if slices.Contains(wanted, path) && !has(paths[path], e.ID) {
				paths[path] = append(paths[path], vuln{e.ID, e.Modified})
				kept = true
			}
		}
		if !kept {
			continue
		}
		data, err := os.ReadFile(file)
		must(t, err)
		var compact bytes.Buffer
		must(t, json.Compact(&compact, data))
		must(t, os.WriteFile(filepath.Join(database, "ID", e.ID+".json"),
			append(compact.Bytes(), '\n'), 0o644))
	}
	var index []module
	for _, path := range wanted {
		if len(paths[path]) > 0 {
			index = append(index, module{path, paths[path]})
		}
	}
	writeJSON(t, "modules", index)
	writeJSON(t, "db", map[string]time.Time{"modified": modified.UTC()})
	text := "Entries of the Go vulnerability database, " +
		"https://go.dev/security/vuln/database, under CC-BY-4.0.\n" +
		"Made of commit " + *commit + " of " + modified.UTC().Format(time.DateOnly) + ".\n" +
		"About these modules:\n" + strings.Join(wanted, "\n") + "\n"
	must(t, os.WriteFile(about, []byte(text), 0o644))
}

func has(all []vuln, id string) bool {
	return slices.ContainsFunc(all, func(v vuln) bool { return v.ID == id })
}

func writeJSON(t *testing.T, name string, value any) {
	t.Helper()
	data, err := json.MarshalIndent(value, "", " ")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(database, "index", name+".json"), append(data, '\n'), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
