package mariadb

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// fit refuses a contract that this host cannot meet, before MariaDB starts on the datadir: started,
// it would take a table that it cannot read for a broken one.
func (d *Datadirs) fit(ctx context.Context, dir string, c *consistentpoint.Contract) error {
	if c == nil || len(c.Libraries)+len(c.Collations) == 0 && c.KeyLibrary == "" {
		return nil
	}
	has, err := d.programs(ctx)
	if err != nil {
		return err
	}
	lacks := has.lackedLibraries(c)
	collations, err := has.lackedCollations(c)
	if err != nil {
		return err
	}
	lacks = append(append(lacks, collations...), has.lackedKeys(c)...)
	if len(lacks) == 0 {
		return nil
	}
	return unsafe(errorsv1.Reason_REASON_HOST_UNFIT, fmt.Sprintf(
		"cannot read the datadir %s on this host: it lacks %s", dir, strings.Join(lacks, "; ")),
		errs.WithHint("give the host what its source has, and its machine image for the next "+
			"replica"))
}

// programs are what a host has to read a datadir with.
type programs struct {
	plugins, charsets string
	options           []Option
}

// programs asks the options, and the server's program for what they leave out.
func (d *Datadirs) programs(ctx context.Context) (programs, error) {
	all, err := d.options.read(ctx, "")
	if err != nil {
		return programs{}, err
	}
	p := programs{options: all}
	belongs, err := lookup(d.user)
	if err != nil {
		return programs{}, err
	}
	built := map[string]string{}
	// For its help the program makes a file in the datadir, through a link too, and opens tables.
	help := hostexec.Command{Tool: "mariadbd", As: belongs,
		Args: []string{"--no-defaults", "--datadir=/nonexistent", "--verbose", "--help"}}
	err = d.exec.Lines(ctx, help, func(line []byte) error {
		if words := strings.Fields(string(line)); len(words) == 2 {
			built[normal(words[0])] = words[1]
		}
		return nil
	})
	if err != nil {
		return programs{}, toolFailed("cannot see what MariaDB has on this host", "mariadbd", err)
	}
	counts := effective(all)
	for into, name := range map[*string]string{&p.plugins: "plugin_dir",
		&p.charsets: "character_sets_dir"} {
		*into = filepath.Join(d.root, built[name])
		if dir := counts[name]; dir != "" {
			*into = dir
		}
	}
	return p, nil
}

func (p programs) lackedLibraries(c *consistentpoint.Contract) []string {
	var lacks []string
	for _, name := range c.Libraries {
		path := filepath.Join(p.plugins, name)
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			lacks = append(lacks, "plugin "+path)
		}
	}
	return lacks
}

// lackedCollations are those that the host's own list does not have.
func (p programs) lackedCollations(c *consistentpoint.Contract) ([]string, error) {
	if len(c.Collations) == 0 {
		return nil, nil
	}
	path := filepath.Join(p.charsets, "Index.xml")
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the collations of this host: %w", err)
	}
	defer file.Close()
	listed := map[string]bool{}
	words := bufio.NewScanner(file)
	words.Split(bufio.ScanWords)
	for words.Scan() {
		if name, is := strings.CutPrefix(words.Text(), "name="); is {
			listed[strings.Trim(name, `"'/>`)] = true
		}
	}
	var lacks []string
	for _, name := range c.Collations {
		if !listed[name] {
			lacks = append(lacks, fmt.Sprintf("collation %s (%s)", name, path))
		}
	}
	return lacks, words.Err()
}

// lackedKeys compares the file of the keys, where the plugin has one; keys are never carried.
func (p programs) lackedKeys(c *consistentpoint.Contract) []string {
	if c.KeyLibrary == "" {
		return nil
	}
	plugin := strings.TrimSuffix(c.KeyLibrary, ".so")
	if !p.loads(plugin) {
		return []string{"option plugin_load_add=" + plugin + ", and the keys"}
	}
	if c.KeyFingerprint == "" {
		return nil
	}
	path := effective(p.options)[keyFileOption]
	if path == "" {
		return []string{"option " + keyFileOption + ", and the keys"}
	}
	switch sum, err := fingerprint(path); {
	case err != nil:
		return []string{"file of encryption keys " + path}
	case sum != c.KeyFingerprint:
		return []string{"encryption keys of its source: " + path + " is another file"}
	}
	return nil
}

// loads is true when an option loads the library.
func (p programs) loads(plugin string) bool {
	for _, o := range p.options {
		if o.Name != "plugin_load" && o.Name != "plugin_load_add" {
			continue
		}
		for part := range strings.SplitSeq(o.Value, ";") {
			_, library, named := strings.Cut(part, "=")
			if !named {
				library = part
			}
			if libraryFile(strings.TrimSpace(library)) == libraryFile(plugin) {
				return true
			}
		}
	}
	return false
}
