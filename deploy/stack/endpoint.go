package stack

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// endpoint is a lab's EC2 endpoint, as it tells of itself.
type endpoint struct {
	URL       string `json:"url"`
	Subnets   string `json:"subnets"`
	Region    string `json:"region"`
	AccessKey string `json:"access_key"`
	Host      string `json:"host_address"`
	cmd       *exec.Cmd
	exited    chan struct{}
}

// credentials are the environment of a control plane that uses it.
func (e *endpoint) credentials() []string {
	if e == nil {
		return nil
	}
	return []string{"AWS_ACCESS_KEY_ID=" + e.AccessKey, "AWS_SECRET_ACCESS_KEY=lab",
		"AWS_EC2_METADATA_DISABLED=true"}
}

// Endpoint is the lab's EC2 endpoint while it runs: its URL, its region, and the access key that it
// takes.
func (s *Stack) Endpoint() (url, region, accessKey string) {
	if s.endpoint == nil {
		return "", "", ""
	}
	return s.endpoint.URL, s.endpoint.Region, s.endpoint.AccessKey
}

// startEndpoint starts the EC2 endpoint unless it runs, and waits until it serves.
func (s *Stack) startEndpoint(ctx context.Context) error {
	if s.endpoint != nil {
		return nil
	}
	log, err := os.OpenFile(filepath.Join(s.cfg.Dir, "ec2.log"),
		os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	e := &endpoint{exited: make(chan struct{})}
	e.cmd = exec.Command(s.Program("understudy-lab"), append([]string{"--lab", s.cfg.Name, "ec2"},
		s.cfg.EndpointArgs...)...)
	e.cmd.Stderr = log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := e.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, e)
	}
	if err != nil {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
		return fmt.Errorf("the EC2 endpoint does not start: %w:\n%s", err,
			tail(filepath.Join(s.cfg.Dir, "ec2.log"), 20))
	}
	go func() { _ = e.cmd.Wait(); close(e.exited) }()
	s.endpoint = e
	return nil
}

// stopEndpoint ends the EC2 endpoint that this stack started.
func (s *Stack) stopEndpoint() {
	if e := s.endpoint; e != nil {
		s.endpoint = nil
		_ = e.cmd.Process.Signal(syscall.SIGTERM)
		<-e.exited
	}
}
