//go:build lab

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/deploy/stack"
)

// TestInstallPage does what docs/install.md says, command by command, on hosts with nothing of
// Understudy on them, up to the reboot of all of them.
func TestInstallPage(t *testing.T) {
	t.Parallel()
	page := &page{site: newSite(t, "install"), words: map[string]string{},
		disks: map[string]string{}}
	for _, part := range readPage(t) {
		page.do(t, part)
	}
	page.end(t)
	s := page.site
	const rows = "SELECT COUNT(*), SUM(CRC32(what)) FROM shop.sale"
	awaitTrue(t, time.Minute, "MariaDB on db1 answers", func() bool {
		_, err := s.try("db1", "mariadb -e 'SELECT 1'")
		return err == nil
	})
	s.on(t, "db1", `mariadb -e 'CREATE DATABASE shop; USE shop;
		CREATE TABLE sale (id SERIAL, what TEXT);
		INSERT INTO sale (what) SELECT UUID() FROM seq_1_to_1000'`)
	want := s.on(t, "db1", `mariadb -NBe '`+rows+`'`)
	awaitTrue(t, time.Minute, "db2 replicates what db1 has", func() bool {
		got, err := s.try("db2", `mariadb -NBe '`+rows+`'`)
		return err == nil && got == want
	})
	// What is observed after the reboot may still be of a MariaDB that starts.
	for _, line := range []string{`db1 +primary +READY`, `db2 +replica +READY .* full`} {
		awaitTrue(t, time.Minute, line, func() bool {
			return regexp.MustCompile(`(?m)^` + line).MatchString(
				s.on(t, "cp", "understudy server list"))
		})
	}
	s.breakGlass(t)
}

// breakGlass loses the last admin, and has root make another one: with the unit of the package, its
// user and its confinement.
func (s *site) breakGlass(t *testing.T) {
	t.Helper()
	s.on(t, "cp", `understudy operator revoke admin --reason lost`)
	if out, err := s.try("cp", "understudy server list"); err == nil {
		t.Errorf("a revoked admin is answered: %s", out)
	}
	if out, err := s.try("cp", "setpriv --reuid=nobody --clear-groups understudy --local operator "+
		"list"); err == nil {
		t.Errorf("nobody uses break-glass: %s", out)
	}
	s.on(t, "cp", `set -e; understudy --local operator create ada --role admin --out ada.json
		understudy context add ada --credentials ada.json --address 127.0.0.1:7440
		understudy server list --context ada
		journalctl -u understudy --no-pager | grep -q 'break-glass is used'`)
}

// site is three hosts of a lab with nothing of Understudy on them, and what works on their storage.
type site struct {
	*stack.Stack
	addresses map[string]string // by the page's
	shims     string            // folder with an ssh and an scp that reach them
}

var pageAddresses = map[string]string{"cp": "10.0.0.10", "db1": "10.0.0.11", "db2": "10.0.0.12"}

func newSite(t *testing.T, name string) *site {
	t.Helper()
	cfg := stack.Config{Bin: builtPrograms(t), Name: "e2e-" + name,
		Dir: filepath.Join("/var/lib/understudy-e2e", name)}
	st, err := stack.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &site{Stack: st, addresses: map[string]string{}, shims: t.TempDir()}
	t.Cleanup(func() {
		if t.Failed() {
			for host := range pageAddresses {
				log, _ := s.try(host, "journalctl -u 'understudy*' -n 60 --no-pager")
				t.Logf("the journal of %s:\n%s", host, log)
			}
		}
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for host, address := range pageAddresses {
		s.addresses[address] = s.tool(t, "create", host, "--bare", "--image", "trixie").Address
	}
	s.makeShims(t)
	for host := range pageAddresses {
		s.on(t, host, "systemctl is-system-running --wait || true; ! command -v understudy-agent")
	}
	return s
}

// makeShims makes an ssh and an scp for hosts that have no sshd, by their addresses in the lab.
func (s *site) makeShims(t *testing.T) {
	t.Helper()
	var hosts strings.Builder
	for host, address := range pageAddresses {
		fmt.Fprintf(&hosts, "root@%s*) host=%s ;;\n", s.addresses[address], host)
	}
	lab := s.Lab(t.Context(), "exec").Args
	find := "#!/bin/sh -eu\nhost() { case $1 in\n" + hosts.String() + "esac; }\nlab() { " +
		strings.Join(lab, " ") + " \"$@\"; }\n"
	for name, script := range map[string]string{
		"ssh": `host "$1"; shift; lab "$host" -- sh -c "cd; $*"`,
		"scp": `for to; do :; done; host "$to"
			while [ $# -gt 1 ]; do
				lab "$host" -- sh -c "cat >/root/$(basename "$1")" <"$1"
				shift
			done`,
	} {
		if err := os.WriteFile(filepath.Join(s.shims, name), []byte(find+script+"\n"),
			0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// tool runs the lab's tool.
func (s *site) tool(t *testing.T, args ...string) (out made) {
	t.Helper()
	text, err := s.Lab(t.Context(), args...).Output()
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatalf("understudy-lab %s: %v: %s", strings.Join(args, " "), err, text)
	}
	return out
}

// command is a shell on a host, in its root's home, or on this box with the shims.
func (s *site) command(ctx context.Context, host, script string) *exec.Cmd {
	shell := []string{"bash", "-euo", "pipefail", "-c", script}
	if host != workstation {
		shell[4] = "cd\n" + script
		cmd := s.Lab(ctx, append([]string{"exec", host, "--"}, shell...)...)
		cmd.Stderr = nil
		return cmd
	}
	cmd := exec.CommandContext(ctx, shell[0], shell[1:]...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "PATH="+s.shims+":"+os.Getenv("PATH"))
	return cmd
}

const workstation = "your workstation"

// try runs a script on a host and returns all that it printed.
func (s *site) try(host, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	cmd := s.command(ctx, host, script)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	return string(out) + errs.String(), err
}

// on is try, and fails the test when the script fails.
func (s *site) on(t *testing.T, host, script string) string {
	t.Helper()
	out, err := s.try(host, script)
	if err != nil {
		t.Fatalf("on %s: %s\n%v: %s", host, script, err, out)
	}
	return out
}

// booted is when a host's systemd started; "" while it does not run.
func (s *site) booted(host string) string {
	out, err := s.try(host, "systemctl show --property=UserspaceTimestampMonotonic --value")
	if err != nil {
		return ""
	}
	return out
}
