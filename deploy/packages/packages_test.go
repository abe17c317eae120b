//go:build lab

// Package packages_test builds the packages and looks into them with the tools of Debian and rpm.
package packages_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const version = "0.1.0-dev.1"

// build builds the packages of one architecture as this process's surroundings let it.
func build(t *testing.T, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "umask $MASK; exec ./build")
	cmd.Env = append(os.Environ(), "VERSION="+version, "ARCHS=amd64", "OUT="+dir)
	cmd.Env = append(cmd.Env, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// run runs a tool and returns the lines of its output.
func run(t *testing.T, name string, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestPackages(t *testing.T) {
	t.Parallel()
	dir := build(t, "MASK=022", "TZ=UTC")
	files := map[string][]string{} // by program: what its packages install
	for _, program := range []string{"understudy", "understudy-agent"} {
		deb := filepath.Join(dir, program+"_0.1.0~dev.1_amd64.deb")
		rpm := filepath.Join(dir, program+"-0.1.0~dev.1-1.x86_64.rpm")
		files[program] = debFiles(t, deb)
		t.Run(program+".deb keeps Debian's rules", func(t *testing.T) {
			for _, line := range run(t, "lintian", "--allow-root", deb) {
				if regexp.MustCompile(`^[EW]: `).MatchString(line) {
					t.Error(line)
				}
			}
		})
		t.Run(program+".rpm has the same files", func(t *testing.T) {
			rpmHasTheSame(t, files[program], run(t, "rpm", "-qpl", rpm))
			unpacks(t, rpm, program)
			marksDocs(t, rpm)
		})
		t.Run(program+" has what it needs", func(t *testing.T) {
			for _, file := range []string{"usr/bin/" + program,
				"usr/lib/systemd/system/" + program + ".service",
				"usr/lib/tmpfiles.d/" + program + ".conf",
				"usr/share/man/man1/" + program + ".1.gz",
				"usr/share/bash-completion/completions/" + program,
				"usr/share/zsh/vendor-completions/_" + program,
				"usr/share/fish/vendor_completions.d/" + program + ".fish",
				"usr/share/doc/" + program + "/copyright"} {
				if !slices.Contains(files[program], file) {
					t.Errorf("%s is not in the package", file)
				}
			}
			bill(t, filepath.Join(dir, program+"-"+version+"-amd64.cdx.json"))
		})
	}
	for _, file := range files["understudy"] {
		if slices.Contains(files["understudy-agent"], file) {
			t.Errorf("%s is in both packages: they cannot be on one host", file)
		}
	}
}

// TestLongAnotherBuildHasTheSameBytes builds the packages twice, in other surroundings.
func TestLongAnotherBuildHasTheSameBytes(t *testing.T) {
	sameFiles(t, build(t, "MASK=022", "TZ=UTC"),
		build(t, "MASK=077", "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8"))
}

func sameFiles(t *testing.T, one, other string) {
	t.Helper()
	entries, err := os.ReadDir(one)
	if err != nil || len(entries) != 7 {
		t.Fatalf("%d files were built, want 7: %v", len(entries), err)
	}
	for _, entry := range entries {
		a, errA := os.ReadFile(filepath.Join(one, entry.Name()))
		b, errB := os.ReadFile(filepath.Join(other, entry.Name()))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v, %v", entry.Name(), errA, errB)
		}
	}
}

// debFiles are the files of a package, without folders.
func debFiles(t *testing.T, deb string) []string {
	t.Helper()
	var files []string
	for _, line := range run(t, "dpkg-deb", "--contents", deb) {
		name := line[strings.LastIndex(line, " ./")+3:]
		if strings.HasSuffix(name, "/") {
			continue
		}
		files = append(files, name)
		if strings.Contains(line[:10], "w") && line[:10] != "-rw-r--r--" &&
			line[:10] != "-rwxr-xr-x" {
			t.Errorf("a file that others may write: %s", line)
		}
	}
	return files
}

// debianOnly are files that an rpm does not have, or has elsewhere.
var debianOnly = regexp.MustCompile(`lintian|/copyright$|/changelog\.gz$|zsh/`)

func rpmHasTheSame(t *testing.T, deb, rpm []string) {
	t.Helper()
	for _, file := range deb {
		if !debianOnly.MatchString(file) && !slices.Contains(rpm, "/"+file) {
			t.Errorf("%s is not in the rpm", file)
		}
	}
	if !slices.ContainsFunc(rpm, func(file string) bool {
		return strings.HasSuffix(file, "/LICENSE")
	}) {
		t.Error("the rpm has no licence")
	}
}

// unpacks takes the program out of the rpm and runs it.
func unpacks(t *testing.T, rpm, program string) {
	t.Helper()
	dir := t.TempDir()
	// the rpm has absolute names: without the option they would be installed on this box
	run(t, "sh", "-c", `cd "$1" && rpm2cpio "$2" | cpio --extract --quiet \
		--make-directories --no-absolute-filenames`, "sh", dir, rpm)
	out := run(t, filepath.Join(dir, "usr/bin", program), "--version")
	if !strings.Contains(out[0], version) {
		t.Errorf("its version is %q, want %q", out[0], version)
	}
}

// bill sees that a bill of materials names the program's modules.
func bill(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat  string
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(data, &bom); err != nil || bom.BOMFormat != "CycloneDX" {
		t.Fatalf("%s is not CycloneDX: %v", path, err)
	}
	for _, want := range []string{"google.golang.org/grpc", "std"} {
		found := slices.IndexFunc(bom.Components,
			func(c struct{ Name, Version string }) bool { return c.Name == want })
		if found < 0 || bom.Components[found].Version == "" {
			t.Errorf("%s is not in the bill of materials", want)
		}
	}
}

// marksDocs wants that rpm knows documentation as such: an installation may leave it out.
func marksDocs(t *testing.T, rpm string) {
	t.Helper()
	docs := run(t, "rpm", "-qpd", rpm)
	for _, file := range run(t, "rpm", "-qpl", rpm) {
		if regexp.MustCompile(`^/usr/share/doc/`).MatchString(file) !=
			slices.Contains(docs, file) {
			t.Errorf("%s: is it documentation?", file)
		}
	}
}
