package mariadb

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Variable is a global variable of the running server. Origin is MariaDB's word for where its value
// comes from (CONFIG, COMMAND-LINE, SQL, COMPILE-TIME, ...), File the option file of CONFIG.
type Variable struct{ Value, Origin, File string }

// Running is what counts in a server that runs.
type Running struct {
	// Variables are global variables by lower-case name.
	Variables map[string]Variable
	// Args are the arguments of its process; Suffix is the suffix of option groups in its
	// environment.
	Args   []string
	Suffix string
	// Written are all options of its option files as arguments, in the order that they are read.
	Written []string
}

// Mismatch is a setting that the server does not run with, or will not after its next start.
type Mismatch struct {
	// Name is the option's.
	Name string
	// Want is what is relied on, Is what counts.
	Want, Is string
	// From says where Is comes from.
	From string
}

// String is the mismatch as one line.
func (m Mismatch) String() string {
	return fmt.Sprintf("%s is %s instead of %s (%s)", m.Name, m.Is, m.Want, m.From)
}

// atRunTime are the options of the agent's file that nobody but jobs may change in a running server
// and that a job never changes there.
func atRunTime() []string {
	return []string{"gtid_domain_id", "gtid_strict_mode", "innodb_flush_log_at_trx_commit",
		"server_id", "sync_binlog"}
}

// implied are settings that are relied on though no file of the agent's has them: their defaults.
func implied() map[string]string {
	return map[string]string{"innodb_force_recovery": "0", "innodb_read_only": "OFF",
		"silent_startup": "OFF", "skip_grant_tables": "OFF", "skip_networking": "OFF"}
}

// reliedVariables are the variables that Mismatches wants to see.
func reliedVariables(ours []Option) []string {
	names := append(slices.Collect(maps.Keys(effective(ours))), slices.Collect(
		maps.Keys(implied()))...)
	return append(names, "log_bin", "log_bin_basename")
}

// Mismatches compares what a server shall run with with what it does. ours are the options of the
// agent's file; none are wanted of a server that has no such file.
func Mismatches(ours []Option, file string, running Running) []Mismatch {
	if len(ours) == 0 {
		return nil
	}
	wanted := effective(ours)
	for name, value := range implied() {
		wanted[name] = value
	}
	given := onCommandLine(running.Args, wanted)
	written := onCommandLine(running.Written, wanted)
	var found []Mismatch
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		want := wanted[name]
		arg, argued := given[name]
		if argued && !sameSetting(name, want, arg.value) {
			found = append(found, Mismatch{name, want, arg.value,
				"command line of mariadbd: " + arg.written})
			continue
		}
		v, known := running.Variables[name]
		if o, is := written[name]; is && !argued && !known && !sameSetting(name, want, o.value) {
			found = append(found, Mismatch{name, want, o.value, fileUnknown + o.written})
		}
		if known && name == "log_bin" {
			v = binlogVariable(v, running.Variables["log_bin_basename"])
		}
		if known && !sameSetting(name, want, v.Value) && !mayDiffer(name, v, file) {
			found = append(found, Mismatch{name, want, v.Value, running.from(v, file)})
		}
	}
	return found
}

// fileUnknown begins where a setting is from that no variable of the running server has: it counts
// at the next start, and the list of all options does not say which file it is in.
const fileUnknown = "option files: "

// binlogVariable is log_bin as the option is written: its base name, or OFF.
func binlogVariable(on, basename Variable) Variable {
	if sameValue(on.Value, "ON") {
		on.Value = filepath.Base(basename.Value)
	}
	return on
}

// mayDiffer is true for a value that is another one than was written, rightly: MariaDB rounded it,
// or it was changed at run time by who may do that.
func mayDiffer(name string, v Variable, file string) bool {
	switch v.Origin {
	case "SQL":
		return !slices.Contains(atRunTime(), name)
	case "CONFIG":
		return v.File == file && (slices.Contains(AllowedOptions(), name) ||
			name == "binlog_expire_logs_seconds")
	case "AUTO":
		return slices.Contains(AllowedOptions(), name)
	}
	return false
}

// from says where a value comes from.
func (r Running) from(v Variable, file string) string {
	switch {
	case v.Origin == "SQL":
		return "SET GLOBAL since the start"
	case v.Origin == "COMMAND-LINE":
		return "command line of mariadbd"
	case v.Origin == "CONFIG" && v.File != file:
		return "option file " + v.File
	case v.Origin == "CONFIG":
		return "not restarted since " + file + " changed"
	}
	for _, arg := range r.Args {
		if replacesGroups(arg) {
			return file + " is not read: command line of mariadbd: " + arg
		}
	}
	if r.Args != nil && r.Suffix != groupSuffix {
		return fmt.Sprintf("%s is not read: %s of the process is %q instead of %q", file,
			suffixVariable, r.Suffix, groupSuffix)
	}
	return "not set by " + file
}

// replacesGroups is true for an argument that makes MariaDB read other option files, or groups.
func replacesGroups(arg string) bool {
	name, _, _ := strings.Cut(arg, "=")
	return name == "--defaults-file" || name == "--defaults-group-suffix" || name == "--no-defaults"
}

// argument is an option on a command line: its value, and the argument that has it.
type argument struct{ value, written string }

// onCommandLine are the options of a command line that count, under the names that are asked for.
func onCommandLine(args []string, names map[string]string) map[string]argument {
	given := map[string]argument{}
	for _, arg := range args {
		body, long := strings.CutPrefix(arg, "--")
		option, ok := parseOption(body)
		if !long || !ok {
			continue
		}
		value := option.Value
		if !option.Set {
			value = "ON"
		}
		name := completed(option.Name, names)
		for prefix, meant := range map[string]string{"skip_": "OFF", "disable_": "OFF",
			"enable_": "ON"} {
			if rest, is := strings.CutPrefix(option.Name, prefix); is && name == "" {
				name, value = completed(rest, names), meant
			}
		}
		if name != "" {
			given[name] = argument{value, arg}
		}
	}
	return given
}

// completed is the option that MariaDB takes a name for: any beginning of a name that is no other's
// will do.
func completed(name string, names map[string]string) string {
	if twin, alias := aliases()[name]; alias {
		name = twin
	}
	if _, known := names[name]; known {
		return name
	}
	var whole string
	for candidate := range names {
		if strings.HasPrefix(candidate, name) {
			if whole != "" {
				return ""
			}
			whole = candidate
		}
	}
	return whole
}

// sameSetting is sameValue for values that MariaDB shows in another form than they are written: an
// index by its whole path, a size as a number.
func sameSetting(name, want, is string) bool {
	if name == ignoredDirs {
		want, is = hiding(want), hiding(is)
	}
	if strings.HasSuffix(name, "_index") {
		want, is = filepath.Base(want), filepath.Base(is)
	}
	return sameValue(want, is) || inBytes(want) == inBytes(is)
}

// inBytes is a size with its unit as a number; what is none stays as it is.
func inBytes(size string) string {
	if len(size) < 2 {
		return size
	}
	shift, known := map[string]int{"K": 10, "M": 20, "G": 30, "T": 40}[strings.ToUpper(
		size[len(size)-1:])]
	n, err := strconv.ParseInt(size[:len(size)-1], 10, 64)
	if !known || err != nil || n < 0 || n > math.MaxInt64>>shift {
		return size
	}
	return strconv.FormatInt(n<<shift, 10)
}
