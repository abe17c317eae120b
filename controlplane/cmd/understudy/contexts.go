package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"gopkg.in/yaml.v3"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// contexts is the user's file of contexts: which control planes there are, and which one is meant.
type contexts struct {
	// Current is the context that is used when none is named.
	Current string `yaml:"current,omitempty"`
	// Contexts are the control planes, by the user's own names for them.
	Contexts map[string]target `yaml:"contexts"`
}

// target is a control plane and how to call it.
type target struct {
	// Address is its HOST:PORT.
	Address string `yaml:"address" json:"address"`
	// Credentials is the folder with ca.pem, cert.pem and key.pem.
	Credentials string `yaml:"credentials" json:"credentials"`
	// Copied says that the folder was made for this context.
	Copied bool `yaml:"copied,omitempty" json:"copied,omitempty"`
}

// configDir is the folder of the user's own settings; "" when the user has none.
func configDir(w World) string {
	if dir := w.getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "understudy")
	}
	if home := w.getenv("HOME"); home != "" {
		return filepath.Join(home, ".config", "understudy")
	}
	return ""
}

func contextsFile(w World) string { return filepath.Join(configDir(w), "contexts.yaml") }

// readContexts reads the file; a user without one has no contexts.
func readContexts(w World) (all contexts, err error) {
	all.Contexts = map[string]target{}
	path := contextsFile(w)
	data, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) || configDir(w) == "" {
		return all, nil
	}
	if err != nil {
		return all, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&all); err != nil {
		return all, usageError{message: fmt.Sprintf("cannot read %s: %v", path, err),
			hint: "correct the file, or delete it and add the contexts again"}
	}
	return all, nil
}

// changeContexts replaces the file by what a function makes of it, alone against other commands.
// Its owner alone can read it.
func changeContexts(w World, change func(all *contexts) error) (all contexts, err error) {
	dir := configDir(w)
	if dir == "" {
		return all, cmp.Or(change(&contexts{Contexts: map[string]target{}}), error(usageError{
			message: "cannot write contexts: neither HOME nor XDG_CONFIG_HOME is set"}))
	}
	unlock, err := lockContexts(dir)
	if err != nil {
		return all, usageError{message: "cannot write contexts: " + err.Error()}
	}
	defer unlock()
	if all, err = readContexts(w); err != nil {
		return all, err
	}
	if err := change(&all); err != nil {
		return all, err
	}
	data, err := yaml.Marshal(all)
	if err == nil {
		err = atomicfile.Write(contextsFile(w), data, 0o600)
	}
	if err != nil {
		return all, usageError{message: "cannot write contexts: " + err.Error()}
	}
	return all, nil
}

// lockContexts waits for other commands that change the contexts. The kernel unlocks when a command
// dies.
func lockContexts(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// named is a context; a usage error when there is none of that name.
func (all contexts) named(name string) (target, error) {
	found, ok := all.Contexts[name]
	if !ok {
		return found, usageError{message: "there is no context " + quote(name),
			hint: "use one that `understudy context list` shows"}
	}
	return found, nil
}

// readPrivate reads a file that nobody but its owner may read.
func readPrivate(path string) ([]byte, error) {
	if err := mustBePrivate(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// mustBePrivate refuses a file that others can read or write.
func mustBePrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return usageError{
			message: fmt.Sprintf("cannot use %s: others can read it (mode %04o)", path,
				info.Mode().Perm()),
			hint: "make it yours alone: `chmod 600 " + path + "`"}
	}
	return nil
}

// resolve sets the address and the credentials that no flag gave. What names them first counts: the
// flags, --context, the environment, UNDERSTUDY_CONTEXT, the current context, the defaults of the
// control plane's own host.
func (c *cli) resolve() error {
	f := &c.flags
	if f.local {
		return f.resolveLocal()
	}
	if f.addressFlag.Changed && f.credentialsFlag.Changed {
		return nil
	}
	all, err := readContexts(c.World)
	if err != nil {
		return err
	}
	var chosen target
	name := envOr(f.context, envOr(c.getenv("UNDERSTUDY_CONTEXT"), all.Current))
	if name != "" {
		if chosen, err = all.named(name); err != nil {
			return err
		}
	}
	environment := target{Address: c.getenv("UNDERSTUDY_ADDRESS"),
		Credentials: c.getenv("UNDERSTUDY_CREDENTIALS")}
	if f.context != "" {
		environment = target{}
	}
	if !f.addressFlag.Changed {
		f.address = envOr(environment.Address, envOr(chosen.Address, defaultAddress))
	}
	if !f.credentialsFlag.Changed {
		f.credentials = envOr(environment.Credentials,
			envOr(chosen.Credentials, defaultCredentials))
	}
	return nil
}

// resolveLocal is resolve with --local: no context and no environment counts.
func (f *globalFlags) resolveLocal() error {
	if !f.addressFlag.Changed {
		f.address = defaultSocket
	}
	if f.context != "" || f.credentialsFlag.Changed ||
		!strings.HasPrefix(f.address, socketScheme) {
		return usageError{message: "--local takes no --context and no --credentials, and of " +
			"--address only " + socketScheme + "PATH",
			hint: "leave them out: on this host the control plane knows who calls"}
	}
	return nil
}
