package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func pidPath(cfg Config) string { return filepath.Join(cfg.Dir, "demo.pid") }

func writePID(cfg Config, pid int) error {
	return os.WriteFile(pidPath(cfg), []byte(strconv.Itoa(pid)), 0o600)
}

// stopEarlier ends the control plane of an earlier run, if the process with its id is still that
// program.
func stopEarlier(cfg Config) error {
	data, err := os.ReadFile(pidPath(cfg))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return fmt.Errorf("%s does not hold a process id: remove it", pidPath(cfg))
	}
	if !isControlPlane(pid, cfg) {
		return nil
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for isControlPlane(pid, cfg) {
		select {
		case <-limit:
			_ = syscall.Kill(pid, syscall.SIGKILL)
		case <-tick.C:
		}
	}
	return nil
}

func isControlPlane(pid int, cfg Config) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(args), "serve\x00--state-dir\x00"+cfg.Dir)
}

// explain prints what there is to play with.
func (d *Demo) explain(ctx context.Context) {
	credentials, understudy := d.stack.Credentials(), d.stack.Program("understudy")
	d.say("All of it stays up. To play with it:")
	d.printf(`
  export UNDERSTUDY_ADDRESS=%s UNDERSTUDY_CREDENTIALS=%s
  %s server list
  %s job list
  %s replica create --of %s --verify sample another

  # grpcurl, on the control plane; its first use compiles it, a minute without a word
  TLS="-cacert %s/ca.pem -cert %s/cert.pem -key %s/key.pem"
  go tool -modfile=deploy/tools/grpcurl.mod grpcurl $TLS -servername controlplane %s list
  go tool -modfile=deploy/tools/grpcurl.mod grpcurl $TLS -servername controlplane \
    -d '{"name":"servers/%s"}' %s understudy.controlplane.v1.ServerService/GetServer
`, d.stack.Address(), credentials, understudy, understudy, understudy, primary, credentials,
		credentials, credentials, d.stack.Address(), replica, d.stack.Address())
	for _, name := range []string{primary, replica} {
		server, err := d.server(ctx, name)
		if err != nil {
			continue
		}
		d.printf(`
  # %s: its agent, and a shell on its host
  go tool -modfile=deploy/tools/grpcurl.mod grpcurl $TLS -servername %s \
    %s:7443 understudy.agent.v1.MariaDBService/GetStatus
  %s --lab %s shell %s
`, name, name, server.GetAddress(), d.stack.Program("understudy-lab"), d.cfg.Name, name)
	}
	d.printf("\n  # and away with it\n  %s\n\n", d.cfg.downCommand())
}

// downCommand removes this very demo.
func (c Config) downCommand() string {
	switch {
	case c.Dir != stateDir(c.Name):
		return fmt.Sprintf("%s --lab %s --dir %s down", filepath.Join(c.Bin, "demo"), c.Name, c.Dir)
	case c.Name != defaultLab:
		return "make demo-down LAB=" + c.Name
	}
	return "make demo-down"
}

// saveLog keeps the control plane's log of a failed run.
func saveLog(path string, cfg Config) {
	in, err := os.Open(path)
	if err != nil {
		return
	}
	defer in.Close()
	kept, err := os.CreateTemp("", "understudy-"+cfg.Name+"-*.log")
	if err != nil {
		return
	}
	defer kept.Close()
	if _, err := io.Copy(kept, in); err == nil {
		fmt.Fprintln(os.Stderr, "demo: the control plane's log was kept in", kept.Name())
	}
}
