package stack

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endpoint is a lab's EC2 endpoint, as it tells of itself.
type endpoint struct {
	URL       string `json:"url"`
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
	return os.WriteFile(s.endpointPID(), []byte(strconv.Itoa(e.cmd.Process.Pid)), 0o600)
}

func (s *Stack) endpointPID() string { return filepath.Join(s.cfg.Dir, "ec2.pid") }

// stopEndpoint ends the EC2 endpoint, also one that an earlier program left.
func (s *Stack) stopEndpoint() error {
	if e := s.endpoint; e != nil {
		s.endpoint = nil
		_ = e.cmd.Process.Signal(syscall.SIGTERM)
		<-e.exited
		return os.Remove(s.endpointPID())
	}
	data, err := os.ReadFile(s.endpointPID())
	if os.IsNotExist(err) {
		return nil
	}
	pid, convErr := strconv.Atoi(string(data))
	if err != nil || convErr != nil {
		return fmt.Errorf("cannot read %s", s.endpointPID())
	}
	if runsEndpoint(pid, s.cfg.Name) {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for runsEndpoint(pid, s.cfg.Name) {
		<-tick.C
	}
	return os.Remove(s.endpointPID())
}

// runsEndpoint says whether a process is the endpoint of that lab: the number may be another's by
// now.
func runsEndpoint(pid int, lab string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(string(line), "\x00")
	return err == nil && len(args) > 3 && filepath.Base(args[0]) == "understudy-lab" &&
		args[2] == lab && args[3] == "ec2"
}
