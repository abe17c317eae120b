// Package host serves HostService: what host this is. It changes nothing, and it always answers:
// what cannot be read is left empty.
package host

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// Systemd reports its version.
type Systemd interface {
	Version(ctx context.Context) (string, error)
}

// Config has what a Service needs; Exec and Systemd are required.
type Config struct {
	// Server is the name that this agent was enrolled as.
	Server string
	// Version is the agent's.
	Version string
	// Exec asks MariaDB's binary for its version.
	Exec *hostexec.Runner
	// Systemd reports its version.
	Systemd Systemd
	// Log gets what cannot be read; default slog.Default().
	Log *slog.Logger
}

// Service serves HostService.
type Service struct {
	agentv1.UnimplementedHostServiceServer
	config Config
	start  time.Time
}

// New makes a Service.
func New(config Config) (*Service, error) {
	if config.Exec == nil || config.Systemd == nil {
		return nil, errors.New("cannot make the host service: it needs tools and systemd")
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	return &Service{config: config, start: time.Now()}, nil
}

// GetHost returns the identity, versions and resources of the host.
func (s *Service) GetHost(ctx context.Context,
	_ *agentv1.GetHostRequest) (*agentv1.GetHostResponse, error) {
	host := &agentv1.GetHostResponse{
		Server: s.config.Server, AgentVersion: s.config.Version,
		AgentStartTime: timestamppb.New(s.start), Cpus: int32(runtime.NumCPU()),
		MachineId: readText("/etc/machine-id"), BootId: readText("/proc/sys/kernel/random/boot_id"),
		Os: osRelease(readText("/etc/os-release")), Addresses: addresses(),
		MariadbVersion: s.mariadbVersion(ctx), SystemdVersion: s.systemdVersion(ctx),
	}
	var names unix.Utsname
	if unix.Uname(&names) == nil {
		host.Hostname, host.Kernel = unix.ByteSliceToString(names.Nodename[:]),
			unix.ByteSliceToString(names.Release[:])
	}
	fillResources(host)
	return host, nil
}

func fillResources(host *agentv1.GetHostResponse) {
	memory := readText("/proc/meminfo")
	host.MemoryBytes, host.MemoryAvailableBytes = meminfo(memory, "MemTotal"),
		meminfo(memory, "MemAvailable")
	host.Load1 = firstNumber(readText("/proc/loadavg"))
	host.Uptime = durationpb.New(uptime())
	var root unix.Statfs_t
	if unix.Statfs("/", &root) == nil {
		host.RootFreeBytes = int64(root.Bavail) * root.Frsize
	}
}

func (s *Service) systemdVersion(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	version, err := s.config.Systemd.Version(ctx)
	if err != nil {
		s.config.Log.Debug("cannot read systemd's version", "error", err)
	}
	return version
}

// mariadbVersion asks the binary, which may be another one than the server that runs.
func (s *Service) mariadbVersion(ctx context.Context) string {
	result, err := s.config.Exec.Run(ctx,
		hostexec.Command{Tool: "mariadbd", Args: []string{"--version"}, Timeout: 10 * time.Second})
	if err != nil {
		return ""
	}
	return binaryVersion(string(result.Stdout))
}

// binaryVersion reads "11.8.6" out of "mariadbd  Ver 11.8.6-MariaDB-0+deb13u1 for debian-linux-gnu
// on x86_64 (…)".
func binaryVersion(output string) string {
	_, after, found := strings.Cut(output, "Ver ")
	if !found {
		return ""
	}
	version, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	version, _, _ = strings.Cut(version, "-")
	return version
}
