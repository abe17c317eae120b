package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// ShortStory is all that can be done by the command line alone, without a way into hosts: a primary
// of that image, a snapshot of it, a replica that is made from it and verified in full, another by
// both jobs in one, and the removal of everything. say gets each command before it runs.
func (s *Stack) ShortStory(ctx context.Context, image string,
	say func(format string, args ...any)) error {
	run := func(args ...string) (string, error) {
		say("understudy %s", strings.Join(args, " "))
		began := time.Now()
		out, err := s.CLI(ctx, args...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("understudy %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		say("took %s", time.Since(began).Round(time.Second))
		return string(out), nil
	}
	for _, args := range [][]string{
		{"provider", "check"},
		{"server", "create", "db1", "--image", image},
		{"snapshot", "create", "db1"},
		{"replica", "create", "db2", "--of", "db1", "--image", image, "--verify", "full"},
	} {
		if _, err := run(args...); err != nil {
			return err
		}
	}
	out, err := run("snapshot", "list", "-o", "json")
	if err != nil {
		return err
	}
	var list struct{ Snapshots []struct{ Name string } }
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Snapshots) == 0 {
		return fmt.Errorf("the list of snapshots is %q: %w", out, err)
	}
	var snapshots []string
	for _, snapshot := range list.Snapshots {
		snapshots = append(snapshots, strings.TrimPrefix(snapshot.Name, "snapshots/"))
	}
	if _, err := run("replica", "create", "db3", "--from", snapshots[0], "--image", image,
		"--verify", "full"); err != nil {
		return err
	}
	for _, server := range []string{"db3", "db2"} {
		if _, err := run("server", "delete", server, "--yes"); err != nil {
			return err
		}
	}
	for _, snapshot := range snapshots {
		if _, err := run("snapshot", "delete", snapshot, "--yes"); err != nil {
			return err
		}
	}
	if _, err := run("server", "delete", "db1", "--yes"); err != nil {
		return err
	}
	out, err = run("provider", "sweep")
	if err == nil && !strings.Contains(out, "nothing") {
		err = fmt.Errorf("something was left behind:\n%s", out)
	}
	return err
}
