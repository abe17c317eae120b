//go:build lab

package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/deploy/stack"
)

// TestShell opens a shell on a host: on a pipe, and on a terminal, which script makes.
func TestShell(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, stack.Config{Name: "e2e-shell", Provider: "manual",
		Dir: filepath.Join("/var/lib/understudy-e2e", "shell")})
	if err := l.Lab(t.Context(), "create", "db1").Run(); err != nil {
		t.Fatal(err)
	}
	shell := fmt.Sprintf("%s --lab %s shell db1", l.Program("understudy-lab"), l.Name())
	for _, c := range []struct {
		argv []string
		want []string
	}{
		{strings.Fields(shell), []string{"\nnot a tty\n", "\ndb1\n"}},
		{[]string{"env", "TERM=dumb", "script", "--quiet", "--return", "--flush", "--command",
			shell, "/dev/null"}, []string{"/dev/pts/0\r\n", "\ndb1\r\n"}},
	} {
		cmd := exec.CommandContext(t.Context(), c.argv[0], c.argv[1:]...)
		cmd.Stdin = strings.NewReader("echo; tty\nhostname\nexit 3\n")
		out, err := cmd.CombinedOutput()
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != 3 {
			t.Errorf("%v ended with %v", c.argv, err)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%v lacks %q:\n%s", c.argv, want, out)
			}
		}
	}
}
