package mariadb

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// mismatches compares the running server, and what all option files have, with the agent's file.
func mismatches(ctx context.Context, q querier, o *options,
	written []Option) ([]Mismatch, error) {
	ours, err := o.dropIn.options()
	if err != nil || len(ours) == 0 {
		return nil, err
	}
	running, err := runningOf(ctx, q, reliedVariables(ours))
	running.Written = arguments(written)
	found := Mismatches(ours, string(o.dropIn), running)
	for i, m := range found {
		if strings.HasPrefix(m.From, fileUnknown) {
			found[i].From = cmp.Or(o.fileWith(ctx, m), m.From)
		}
	}
	return found, err
}

// arguments are options as on a command line.
func arguments(all []Option) []string {
	args := make([]string, 0, len(all))
	for _, o := range all {
		args = append(args, "--"+o.String())
	}
	return args
}

// fileWith is the option file that has a setting; empty when none has.
func (o *options) fileWith(ctx context.Context, m Mismatch) string {
	files := o.origins(ctx)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		given := onCommandLine(arguments(files[file]), map[string]string{m.Name: ""})
		if arg, has := given[m.Name]; has && arg.value == m.Is {
			return "option file " + file
		}
	}
	return ""
}

// runningOf asks the server for its variables and the kernel for its process.
func runningOf(ctx context.Context, q querier, names []string) (Running, error) {
	names = append(names, "pid_file")
	marks := strings.TrimSuffix(strings.Repeat("?,", len(names)), ",")
	args := make([]any, len(names))
	for i, name := range names {
		args[i] = name
	}
	rows, err := query(ctx, q, "SELECT variable_name, global_value, global_value_origin,"+
		" global_value_path FROM information_schema.system_variables WHERE variable_name IN ("+
		marks+")", args...)
	if err != nil {
		return Running{}, err
	}
	running := Running{Variables: make(map[string]Variable, len(rows))}
	for _, r := range rows {
		running.Variables[strings.ToLower(r["variable_name"])] = Variable{r["global_value"],
			r["global_value_origin"], r["global_value_path"]}
	}
	running.Args, running.Suffix = process(pidIn(running.Variables["pid_file"].Value))
	return running, nil
}

// process are the arguments of a server's process, and the suffix in its environment; none of
// another process. MariaDB's user writes where the number is from.
func process(pid int) (args []string, suffix string) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	switch string(bytes.TrimSpace(readSmall(dir+"comm", 64))) {
	case "mariadbd", "mysqld":
	default:
		return nil, ""
	}
	words := strings.Split(string(readSmall(dir+"cmdline", 128<<10)), "\x00")
	for _, variable := range strings.Split(string(readSmall(dir+"environ", 128<<10)), "\x00") {
		if value, is := strings.CutPrefix(variable, suffixVariable+"="); is {
			suffix = value
		}
	}
	return words[1:], suffix
}

// readSmall is the beginning of a regular file; nothing of another kind of file, or of none.
func readSmall(path string, limit int64) []byte {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	content, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return nil
	}
	return content
}

// Startable refuses a unit whose command line, or whose environment, beats the agent's options. It
// is the check of mariadb.service for systemd.Manager.SetStartable.
func (c *Configuration) Startable(ctx context.Context, unit string) error {
	ours, err := c.options.dropIn.options()
	if err != nil || len(ours) == 0 || c.units == nil {
		return err
	}
	words, err := c.units.Words(ctx, unit)
	if err != nil {
		return err
	}
	var lines []string
	for _, word := range words {
		if replacesGroups(word) {
			lines = append(lines, string(c.options.dropIn)+" is not read: "+word)
		}
	}
	for _, m := range Mismatches(ours, string(c.options.dropIn), Running{Args: words}) {
		lines = append(lines, m.String())
	}
	if len(lines) == 0 {
		return nil
	}
	return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
		fmt.Sprintf("cannot use the option files of %s: its command line beats them: %s", unit,
			strings.Join(lines, "; ")),
		errs.WithHint("take the option out of the unit and its environment (systemctl cat "+Unit+
			" shows both), then call again"))
}
