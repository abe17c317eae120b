// Package stack runs the built programs as a user would: a control plane with its own state
// directory and lab, the command line, and commands on the lab's hosts. The demo and the end-to-end
// tests stand on it; it knows nothing that a user could not do.
package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-db/understudy/proto/testport"
)

// Config says where a stack lives. Two stacks with different names never meet.
type Config struct {
	// Bin is the folder with the built programs.
	Bin string
	// Name is the lab's name, 2 to 20 characters of [a-z0-9-].
	Name string
	// Dir holds the control plane's state and log.
	Dir string
	// Port is the control plane's port on this machine; 0 picks a free one.
	Port int
	// Provider is "nspawn", the default; "ec2": then an EC2 endpoint for the lab runs beside the
	// control plane, which works under the policy of docs/ec2.md; or "manual": then whoever uses
	// the stack does the tasks.
	Provider string
	// Host is this machine's address in the network of the provider manual's machines. Without it
	// the lab's tool makes a network.
	Host string
	// EndpointArgs are given to the EC2 endpoint.
	EndpointArgs []string
	// Attest has machines of the EC2 endpoint join without a token.
	Attest bool
	// AmazonArgs are given to `understudy serve` for it to work with Amazon's EC2, without a lab;
	// Host is then this machine's address in the VPC.
	AmazonArgs []string
	// ExtraArgs are given to `understudy serve`.
	ExtraArgs []string
	// ExtraEnv is added to the control plane's environment, as "KEY=value".
	ExtraEnv []string
}

// Stack is a control plane with its lab.
type Stack struct {
	cfg    Config
	serve  *exec.Cmd
	exited chan struct{}

	endpoint *Endpoint
}

// New prepares a stack; nothing runs yet.
func New(cfg Config) (*Stack, error) {
	if cfg.Bin == "" || cfg.Name == "" || cfg.Dir == "" {
		return nil, fmt.Errorf("stack: Bin, Name and Dir are required")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if cfg.Port == 0 {
		port, err := testport.Free()
		if err != nil {
			return nil, err
		}
		cfg.Port = port
	}
	return &Stack{cfg: cfg}, nil
}

// Address is where the control plane serves on this machine.
func (s *Stack) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.cfg.Port) }

// Credentials is the folder with the operator's ready-made credentials.
func (s *Stack) Credentials() string { return filepath.Join(s.cfg.Dir, "operator") }

// LogPath is where the control plane's log goes.
func (s *Stack) LogPath() string { return filepath.Join(s.cfg.Dir, "understudy.log") }

// Config is how another control plane of the same store and lab would be started, on a port of its
// own.
func (s *Stack) Config() Config {
	other := s.cfg
	other.Port, other.ExtraEnv = 0, nil
	return other
}

// Twin prepares another control plane of the same store and lab, at the same EC2 endpoint if there
// is one.
func (s *Stack) Twin() (*Stack, error) {
	twin, err := New(s.Config())
	if err == nil {
		twin.endpoint = s.endpoint
	}
	return twin, err
}

// Name is the lab's name.
func (s *Stack) Name() string { return s.cfg.Name }

// Start starts the control plane and waits until it serves. Starting a running one is an error.
func (s *Stack) Start(ctx context.Context) error {
	if s.Running() {
		return fmt.Errorf("stack %s: the control plane runs already", s.cfg.Name)
	}
	listen, providerArgs := s.Address(), []string(nil)
	if len(s.cfg.AmazonArgs) > 0 {
		listen += "," + net.JoinHostPort(s.cfg.Host, fmt.Sprint(s.cfg.Port))
		providerArgs = append([]string{"--provider", "ec2"}, s.cfg.AmazonArgs...)
	} else if s.cfg.Provider == "ec2" {
		if err := s.startEndpoint(ctx); err != nil {
			return err
		}
		listen += "," + net.JoinHostPort(s.endpoint.Host, fmt.Sprint(s.cfg.Port))
		providerArgs = []string{"--provider", "ec2", "--ec2-region", s.endpoint.Region,
			"--ec2-endpoint", s.endpoint.URL, "--ec2-subnets", s.endpoint.Subnets,
			"--ec2-instance-profile", instanceProfile,
			"--ec2-consistency", "5s"} // the endpoint shows things within 2 s
		if s.cfg.Attest {
			providerArgs = append(providerArgs, "--attest", "ec2", "--attest-accounts",
				s.endpoint.Account, "--attest-certificates", s.endpoint.Certificates)
		}
	}
	if s.cfg.Provider == "manual" {
		host, err := s.host(ctx)
		if err != nil {
			return err
		}
		listen += "," + net.JoinHostPort(host, fmt.Sprint(s.cfg.Port))
		providerArgs = []string{"--provider", "manual"}
	}
	log, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{"serve", "--dev", "--state-dir", s.cfg.Dir, "--listen", listen, "--lab",
		s.cfg.Name, "--metrics", "off"}, slices.Concat(providerArgs, s.cfg.ExtraArgs)...)
	cmd := exec.Command(s.Program("understudy"), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = slices.Concat(os.Environ(), s.endpoint.credentials(), s.cfg.ExtraEnv)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.serve, s.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) { _ = cmd.Wait(); close(exited) }(s.exited)
	return s.awaitServing(ctx)
}

func (s *Stack) host(ctx context.Context) (string, error) {
	if s.cfg.Host != "" {
		return s.cfg.Host, nil
	}
	out, err := s.Lab(ctx, "address").Output()
	if err != nil {
		return "", fmt.Errorf("cannot make the network of lab %s: %w", s.cfg.Name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// ErrEnded is why Start fails when the control plane ended before it served.
var ErrEnded = errors.New("the control plane ended at once")

func (s *Stack) awaitServing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.DialTimeout("tcp", s.Address(), time.Second); err == nil {
			_ = conn.Close()
			if _, err := os.Stat(filepath.Join(s.Credentials(), "cert.pem")); err == nil {
				return nil
			}
		}
		select {
		case <-s.exited:
			return fmt.Errorf("%w:\n%s", ErrEnded, tail(s.LogPath(), 20))
		case <-ctx.Done():
			return fmt.Errorf("the control plane does not serve on %s; its log is %s", s.Address(),
				s.LogPath())
		case <-tick.C:
		}
	}
}

// Running says whether the control plane that this stack started still runs.
func (s *Stack) Running() bool {
	if s.serve == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// PID is the control plane's process id, 0 when it does not run.
func (s *Stack) PID() int {
	if !s.Running() {
		return 0
	}
	return s.serve.Process.Pid
}

// Kill ends the control plane with SIGKILL and waits until it is gone.
func (s *Stack) Kill() {
	if s.Running() {
		_ = s.serve.Process.Kill()
		<-s.exited
	}
}

// Exited is closed when the control plane has ended.
func (s *Stack) Exited() <-chan struct{} { return s.exited }

// SetEnv replaces the extra environment of the next Start.
func (s *Stack) SetEnv(env ...string) { s.cfg.ExtraEnv = env }

// Stop asks the control plane to end and waits for it.
func (s *Stack) Stop() {
	if !s.Running() {
		return
	}
	_ = s.serve.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.Kill()
	}
}

// Down stops the control plane, also one that an earlier program left, and removes the lab and the
// state directory, whatever state they are in.
func (s *Stack) Down(ctx context.Context) error {
	s.Stop()
	s.stopEndpoint()
	if err := s.endEarlier(ctx); err != nil {
		return err
	}
	if len(s.cfg.AmazonArgs) > 0 {
		return os.RemoveAll(s.cfg.Dir)
	}
	if err := s.Lab(ctx, "down").Run(); err != nil {
		return fmt.Errorf("cannot remove lab %s: %w", s.cfg.Name, err)
	}
	return os.RemoveAll(s.cfg.Dir)
}

// Program is the path of a built program.
func (s *Stack) Program(name string) string { return filepath.Join(s.cfg.Bin, name) }

// CLI prepares a call of the command line, as the operator.
func (s *Stack) CLI(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Program("understudy"), args...)
	cmd.Env = append(os.Environ(), "UNDERSTUDY_ADDRESS="+s.Address(),
		"UNDERSTUDY_CREDENTIALS="+s.Credentials())
	return cmd
}

// Lab prepares a call of the lab's own tool.
func (s *Stack) Lab(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Program("understudy-lab"),
		append([]string{"--lab", s.cfg.Name}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// Exec runs a command on a host of the lab, by the host's name, and returns its output.
func (s *Stack) Exec(ctx context.Context, host string, argv ...string) (string, error) {
	cmd := s.Lab(ctx, append([]string{"exec", host, "--"}, argv...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s on %s: %w: %s", argv[0], host, err,
			strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// SQL runs statements on a host as MariaDB's root over the socket, and returns the rows,
// tab-separated. They go in by standard input, so that a password in them is in no argument list.
func (s *Stack) SQL(ctx context.Context, host, statements string) (string, error) {
	cmd := s.Lab(ctx, "exec", host, "--", "mariadb", "--batch", "--skip-column-names")
	var stderr strings.Builder
	cmd.Stdin, cmd.Stderr = strings.NewReader(statements), &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("mariadb on %s: %w: %s", host, err,
			strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
