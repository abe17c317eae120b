// Package host serves HostService: what host this is. It changes nothing, and it always answers:
// what cannot be read is left empty.
package host

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/agent/internal/grants"
	"github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// Systemd reports its version.
type Systemd interface {
	Version(ctx context.Context) (string, error)
}

// MariaDB reports the version that is installed; empty for none.
type MariaDB interface {
	BinaryVersion(ctx context.Context) string
}

// Databases sees the servers of databases that run on the host.
type Databases interface {
	DatabaseProcesses() []mount.DatabaseProcess
}

// Config has what a Service needs, all of it.
type Config struct {
	// Server is the name that this agent was enrolled as.
	Server string
	// Version is the agent's.
	Version string
	// MariaDB and Systemd report their versions.
	MariaDB MariaDB
	Systemd Systemd
	// Databases sees which servers of databases run.
	Databases Databases
	// SetControlPlane sets where the agent renews its certificate, and says whether that is new.
	SetControlPlane func(addresses []string) (changed bool, err error)
	// RenewCertificates gets the host new certificates, once for each key, and says whether it did
	// and until when they are good.
	RenewCertificates func(ctx context.Context, key string) (changed bool, until time.Time,
		err error)
	// SetDenyList sets which certificates are refused, each until it expires, and says whether that
	// is new.
	SetDenyList func(sequence int64, denied map[string]time.Time) (changed bool, err error)
	// SetGrants sets which operators may make changing calls, and says whether that is new, and
	// which grants are in force.
	SetGrants func(sequence int64, all []grants.Grant) (changed bool, inForce []string, err error)
	// Digests and RowHash are the versions of how objects are digested and rows are hashed.
	Digests, RowHash int32
	// Log gets what cannot be read.
	Log *slog.Logger
}

// Service serves HostService.
type Service struct {
	agentv1.UnimplementedHostServiceServer
	config Config
	start  time.Time
}

// New makes a Service.
func New(config Config) *Service { return &Service{config: config, start: time.Now()} }

// GetHost returns the identity, versions and resources of the host.
func (s *Service) GetHost(ctx context.Context,
	_ *agentv1.GetHostRequest) (*agentv1.GetHostResponse, error) {
	host := &agentv1.GetHostResponse{
		Server: s.config.Server, AgentVersion: s.config.Version,
		AgentStartTime: timestamppb.New(s.start), Cpus: int32(runtime.NumCPU()),
		MachineId: readText("/etc/machine-id"), BootId: readText("/proc/sys/kernel/random/boot_id"),
		Os:             osRelease(readText("/etc/os-release")),
		MariadbVersion: s.config.MariaDB.BinaryVersion(ctx), SystemdVersion: s.systemdVersion(ctx),
		Digests: s.config.Digests, RowHash: s.config.RowHash,
	}
	var names unix.Utsname
	if unix.Uname(&names) == nil {
		host.Hostname, host.Kernel = unix.ByteSliceToString(names.Nodename[:]),
			unix.ByteSliceToString(names.Release[:])
	}
	fillResources(host)
	for _, p := range s.config.Databases.DatabaseProcesses() {
		host.DatabaseProcesses = append(host.DatabaseProcesses, &agentv1.DatabaseProcess{
			Pid: int32(p.PID), Unit: p.Unit, Datadir: p.Datadir, DeviceIds: p.DeviceIDs,
			Databases: p.Databases})
	}
	return host, nil
}

// RenewCertificates gets the host new certificates.
func (s *Service) RenewCertificates(ctx context.Context,
	req *agentv1.RenewCertificatesRequest) (*agentv1.RenewCertificatesResponse, error) {
	changed, until, err := s.config.RenewCertificates(ctx, req.GetFencingToken().GetEffectKey())
	if err != nil {
		return nil, err
	}
	return &agentv1.RenewCertificatesResponse{Changed: changed,
		ExpireTime: timestamppb.New(until)}, nil
}

// SetControlPlane sets where the agent renews its certificate.
func (s *Service) SetControlPlane(_ context.Context,
	req *agentv1.SetControlPlaneRequest) (*agentv1.SetControlPlaneResponse, error) {
	faults := errs.Fields{}
	for _, address := range req.GetAddresses() {
		host, port, err := net.SplitHostPort(address)
		faults.Require("addresses", err == nil && host != "" && port != "", "must be host:port")
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	changed, err := s.config.SetControlPlane(req.GetAddresses())
	if err != nil {
		return nil, err
	}
	return &agentv1.SetControlPlaneResponse{Changed: changed}, nil
}

// SetDenyList sets which certificates the agent refuses.
func (s *Service) SetDenyList(_ context.Context,
	req *agentv1.SetDenyListRequest) (*agentv1.SetDenyListResponse, error) {
	denied := make(map[string]time.Time, len(req.GetCertificates()))
	for _, cert := range req.GetCertificates() {
		denied[cert.GetSerial()] = cert.GetExpireTime().AsTime()
	}
	changed, err := s.config.SetDenyList(req.GetSequence(), denied)
	if err != nil {
		return nil, err
	}
	return &agentv1.SetDenyListResponse{Changed: changed}, nil
}

// SetGrants sets which operators may make changing calls.
func (s *Service) SetGrants(_ context.Context,
	req *agentv1.SetGrantsRequest) (*agentv1.SetGrantsResponse, error) {
	var all []grants.Grant
	for _, g := range req.GetGrants() {
		all = append(all, grants.Grant{ID: g.GetId(), Operator: g.GetOperator(),
			Key: g.GetKeyPrint(), Left: g.GetLeft().AsDuration(),
			End: g.GetExpireTime().AsTime(), Reason: g.GetReason()})
	}
	changed, inForce, err := s.config.SetGrants(req.GetSequence(), all)
	if err != nil {
		return nil, err
	}
	return &agentv1.SetGrantsResponse{Changed: changed, InForce: inForce}, nil
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
