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
	"syscall"
)

// Endpoint is a lab's EC2 endpoint, as it tells of itself.
type Endpoint struct {
	URL     string `json:"url"`
	Subnets string `json:"subnets"`
	Region  string `json:"region"`
	// AccessKey is the control plane's: it may do what the documented policy allows. AdminKey is
	// that of others in the account, who may do everything. Any secret will do.
	AccessKey string `json:"access_key"`
	AdminKey  string `json:"admin_key"`
	// Host is this machine's address in the lab's network.
	Host string `json:"host_address"`
	// Account and Certificates are for attestation of its machines.
	Account      string `json:"account"`
	Certificates string `json:"certificates"`

	cmd    *exec.Cmd
	exited chan struct{}
}

// credentials are the environment of a control plane that uses it.
func (e *Endpoint) credentials() []string {
	if e == nil {
		return nil
	}
	return []string{"AWS_ACCESS_KEY_ID=" + e.AccessKey, "AWS_SECRET_ACCESS_KEY=lab",
		"AWS_EC2_METADATA_DISABLED=true"}
}

// Endpoint is the lab's EC2 endpoint; empty while none runs.
func (s *Stack) Endpoint() Endpoint {
	if s.endpoint == nil {
		return Endpoint{}
	}
	return *s.endpoint
}

// BadDay are the arguments of an endpoint on which EC2 has a bad day: of 100 calls it throttles 4,
// loses 2 requests and 4 answers, and fails 2, in the order of the seed. Each call knows in a time
// of its own what was made, conditions of the policy know its tags later still, devices appear
// late, and a volume that has grown takes no other change for a minute.
func BadDay(seed uint64) []string {
	return []string{"--throttle", "4", "--lose-request", "2", "--lose-answer", "4",
		"--internal-error", "2", "--consistency", "500ms", "--lag", "DescribeInstances=1s," +
			"AttachVolume=2s,CreateTags=2s,CreateVolume=1s,DeleteSnapshot=2s,DeleteVolume=2s," +
			"DetachVolume=2s,ModifyVolume=2s,TerminateInstances=2s", "--tags-late", "3s",
		"--device-delay", "1s", "--optimize-time", "1m", "--page-size", "5",
		"--seed", strconv.FormatUint(seed, 10)}
}

// The lab's account encrypts every volume with a customer managed key, and its machines have an
// instance profile.
const (
	defaultKey      = "arn:aws:kms:eu-lab-1:000000000000:key/1ab00000-0000-4000-8000-000000000001"
	instanceProfile = "understudy-lab"
	instanceRole    = "arn:aws:iam::000000000000:role/" + instanceProfile
)

// writePolicy writes the IAM policy that the page tells operators to give the control plane.
func (s *Stack) writePolicy(ctx context.Context) (path string, err error) {
	policy, err := exec.CommandContext(ctx, s.Program("understudy"), "provider", "policy",
		"--kms-key", defaultKey, "--instance-role", instanceRole).Output()
	if err != nil {
		return "", fmt.Errorf("cannot print the policy of the provider ec2: %w", err)
	}
	path = filepath.Join(s.cfg.Dir, "ec2-policy.json")
	return path, os.WriteFile(path, policy, 0o600)
}

// startEndpoint starts the EC2 endpoint unless it runs, and waits until it serves. Its control
// plane works under the documented policy.
func (s *Stack) startEndpoint(ctx context.Context) error {
	if s.endpoint != nil {
		return nil
	}
	policy, err := s.writePolicy(ctx)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.cfg.Dir, "ec2.log"),
		os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	e := &Endpoint{exited: make(chan struct{})}
	e.cmd = exec.Command(s.Program("understudy-lab"), append([]string{"--lab", s.cfg.Name, "ec2",
		"--policy", policy, "--default-key", defaultKey}, s.cfg.EndpointArgs...)...)
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
