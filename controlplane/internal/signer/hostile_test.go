package signer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/signer"
)

// Whoever can put another program in the place of the one that signs signs: through a link, a
// folder anywhere above it, or the script that an interpreter runs.
func TestAWayToTheProgramThatOthersCanChange(t *testing.T) {
	t.Parallel()
	for what, command := range map[string]func(ran string) []string{
		"a link to a folder that others can write": func(ran string) []string {
			program := program(t, ran)
			link := filepath.Join(t.TempDir(), "link")
			must(t, os.Symlink(program, link))
			must(t, os.Chmod(filepath.Dir(program), 0o777))
			return []string{link}
		},
		"a folder above it": func(ran string) []string {
			program := program(t, ran)
			below := filepath.Join(filepath.Dir(program), "a", "b")
			must(t, os.MkdirAll(below, 0o755))
			must(t, os.Rename(program, filepath.Join(below, "program")))
			must(t, os.Chmod(filepath.Dir(program), 0o777))
			return []string{filepath.Join(below, "program")}
		},
		"a script of an interpreter": func(ran string) []string {
			program := program(t, ran)
			must(t, os.Chmod(program, 0o722))
			return []string{"/bin/sh", program}
		},
		"a folder with the script": func(ran string) []string {
			program := program(t, ran)
			must(t, os.Chmod(filepath.Dir(program), 0o777))
			return []string{"/bin/sh", program}
		},
	} {
		ran := filepath.Join(t.TempDir(), "ran")
		p, err := signer.New(signer.Config{Command: command(ran), Limit: time.Minute})
		must(t, err)
		if _, err := sign(t.Context(), t, p); err == nil ||
			!strings.Contains(err.Error(), "can be changed by others") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(ran); err == nil {
			t.Errorf("%s: it ran", what)
		}
	}
}

// program is one that says that it ran.
func program(t *testing.T, ran string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\ntouch "+ran+"\necho signature\n"), 0o700))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
