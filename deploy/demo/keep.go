package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// explain prints what there is to play with.
func (d *Demo) explain(ctx context.Context) {
	credentials, understudy := d.stack.Credentials(), d.stack.Program("understudy")
	d.say("All of it stays up. To play with it:")
	d.printf(`
  export UNDERSTUDY_ADDRESS=%s UNDERSTUDY_CREDENTIALS=%s
  %s server list
  %s job list
  %s replica create --of %s another

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
