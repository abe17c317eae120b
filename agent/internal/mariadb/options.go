package mariadb

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Option is one option as an option file has it: Name with underscores, without dashes in front.
// Set is false for one that stands there without a value.
type Option struct {
	Name, Value string
	Set         bool
}

// String is the option as a line: "server_id=7".
func (o Option) String() string {
	if !o.Set {
		return o.Name
	}
	return o.Name + "=" + o.Value
}

// quotable are characters that an option file has another meaning for where they are not quoted.
const quotable = " \"'#\\"

// line is the option in an option file.
func (o Option) line() string {
	if !strings.ContainsAny(o.Value, quotable) {
		return o.String()
	}
	return o.Name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(o.Value) + `"`
}

// unquoted is a value that line has quoted.
func unquoted(value string) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(value[1 : len(value)-1])
}

// secret is true for options whose value is never shown.
func (o Option) secret() bool {
	for _, word := range []string{"password", "passphrase", "secret", "_auth", "token"} {
		if strings.Contains(o.Name, word) {
			return true
		}
	}
	return false
}

// parseOption reads one line of my_print_defaults: "--server-id=7".
func parseOption(line string) (Option, bool) {
	name, value, set := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "--"), "=")
	name = normal(name)
	return Option{Name: name, Value: value, Set: set}, name != ""
}

// normal is an option's name in the one spelling that is compared: MariaDB takes dashes for
// underscores.
func normal(name string) string {
	return strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-",
		"_"), "loose_")
}

// options reads MariaDB's option files.
type options struct {
	exec Exec
	// defaultsFile replaces the files that MariaDB reads by itself, in dir.
	defaultsFile, dir string
	dropIn            dropIn
	// defaultDatadir is where the datadir is when no file says it.
	defaultDatadir string
}

// read asks MariaDB's own tool which options the server would read, of all its files, or of
// one alone.
func (o *options) read(ctx context.Context, file string) ([]Option, error) {
	var args []string
	if file == "" {
		file = o.defaultsFile
	}
	if file != "" {
		args = append(args, "--defaults-file="+file)
	}
	result, err := o.exec.Run(ctx, hostexec.Command{Tool: "my_print_defaults",
		Args: append(args, "--defaults-group-suffix="+groupSuffix, "--mysqld"), OKCodes: []int{1}})
	if err != nil {
		return nil, fmt.Errorf("cannot read MariaDB's options: %w", err)
	}
	var all []Option
	for line := range strings.Lines(string(result.Stdout)) {
		if option, ok := parseOption(line); ok {
			all = append(all, option)
		}
	}
	return all, nil
}

// shown are options as lines, secrets left out.
func shown(all []Option) []string {
	lines := make([]string, 0, len(all))
	for _, o := range all {
		if !o.secret() {
			lines = append(lines, o.String())
		}
	}
	return lines
}

// effective is what counts of options that come several times: the last one. `skip_x` and `x=OFF`
// are one option.
func effective(all []Option) map[string]string {
	last := map[string]string{}
	for name, o := range lastOf(all) {
		last[name] = o.value
	}
	return last
}

// counted is an option that counts: its value in the unit of the name that it counts under, and as
// it is written.
type counted struct {
	value   string
	written Option
}

func lastOf(all []Option) map[string]counted {
	last := map[string]counted{}
	for _, o := range all {
		name, value := o.Name, o.Value
		if !o.Set {
			value = "ON"
		}
		if twin, alias := aliases()[name]; alias {
			name = twin
		}
		switch o.Name {
		case "skip_log_bin":
			name, value = "log_bin", "OFF"
		case "expire_logs_days":
			value = inSeconds(value)
		case ignoredDirs:
			if before := last[name].value; before != "" && value != "" {
				value = before + "," + value
			}
		}
		last[name] = counted{value, o}
	}
	return last
}

// inSeconds is a number of days, which may be a fraction, in seconds; what is no number stays as it
// is.
func inSeconds(days string) string {
	n, err := strconv.ParseFloat(days, 64)
	if err != nil || n < 0 || n > 99 {
		return days
	}
	return strconv.FormatInt(int64(math.Round(n*24*60*60)), 10)
}

// aliases are second names of options.
func aliases() map[string]string {
	return map[string]string{
		"log_replica_updates": "log_slave_updates", "skip_replica_start": "skip_slave_start",
		"expire_logs_days": "binlog_expire_logs_seconds",
		"tx_isolation":     "transaction_isolation",
	}
}

// others are what MariaDB would read without our file.
func (o *options) others(ctx context.Context) ([]Option, error) {
	all, err := o.read(ctx, "")
	if err != nil {
		return nil, err
	}
	if there, err := o.dropIn.read(); err != nil || there == nil {
		return all, err
	}
	ours, err := o.read(ctx, string(o.dropIn))
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, our := range ours {
		count[our.String()]++
	}
	var others []Option
	for _, option := range all {
		if count[option.String()] > 0 {
			count[option.String()]--
			continue
		}
		others = append(others, option)
	}
	return others, nil
}

// readBack proves that ours are the options that count.
func (o *options) readBack(ctx context.Context, ours []Option, done *Configured) error {
	all, err := o.read(ctx, "")
	if err != nil {
		return err
	}
	done.Effective = shown(all)
	counts, wanted := lastOf(all), effective(ours)
	for name, value := range wanted {
		if counts[name].written.Name == "" {
			return notRead(string(o.dropIn))
		}
		if counts[name].value != value && !suspended(name, counts[name].value) {
			return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
				fmt.Sprintf("cannot set option %s to %q: another option file is read after %s "+
					"and sets %s", name, value, o.dropIn, counts[name].written),
				errs.WithHint("remove the option from that file (my_print_defaults "+
					"--defaults-group-suffix="+groupSuffix+" --mysqld lists all), then call again"))
		}
	}
	return nil
}

// notRead is the error of an option file that no other file includes.
func notRead(file string) error {
	return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
		fmt.Sprintf("cannot configure MariaDB: it does not read %s", file),
		errs.WithHint("make /etc/mysql/my.cnf include that folder (update-alternatives --set "+
			"my.cnf /etc/mysql/mariadb.cnf on Debian), then call again"))
}

// datadir is where the options put it.
func (o *options) datadir(all []Option) string {
	if dir := effective(all)["datadir"]; dir != "" {
		return dir
	}
	return o.defaultDatadir
}

// origins are the options of each option file, files in no order, ours left out.
func (o *options) origins(ctx context.Context) map[string][]Option {
	found := map[string][]Option{}
	for _, pattern := range []string{"my.cnf", "conf.d/*.cnf", "mariadb.conf.d/*.cnf"} {
		files, err := filepath.Glob(filepath.Join(o.dir, pattern))
		if err != nil {
			continue
		}
		for _, file := range files {
			if file == string(o.dropIn) || includes(file) {
				continue
			}
			if options, err := o.read(ctx, file); err == nil {
				found[file] = options
			}
		}
	}
	return found
}

// mostOptions bounds an option file.
const mostOptions = 1 << 20

// includes is true for a file that only names others: their options would be listed twice.
func includes(file string) bool {
	text, err := untrusted.ReadFile(file, mostOptions)
	return err != nil || strings.Contains(string(text), "!include")
}
