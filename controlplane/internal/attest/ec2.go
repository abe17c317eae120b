package attest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// maxAge is how long after its start a machine can join.
	maxAge = 5 * time.Minute
	// maxAhead is how far EC2's clock may be ahead of this one.
	maxAhead = time.Minute
	// askLimit is how long EC2 may take to show a machine, askAgain when the agent asks again.
	askLimit = 15 * time.Second
	askAgain = 5 * time.Second
)

// EC2Name is the name of this attestation in configurations and join files, and of the provider.
const EC2Name = "ec2"

// Machines shows machines; a provider does.
type Machines interface {
	// GetMachine reads one machine, or answers provider.ErrNotFound.
	GetMachine(ctx context.Context, id string) (provider.Machine, error)
}

// EC2Config is what an EC2 needs; only Now and Log have defaults.
type EC2Config struct {
	// Accounts are the ids of the accounts whose machines may join.
	Accounts []string
	// Region is where they are.
	Region string
	// Certificates are those whose signatures are believed.
	Certificates []*x509.Certificate
	// Machines shows which machines there are.
	Machines Machines
	// NAT are the addresses from which machines reach the control plane through a NAT: what comes
	// from there need not come from the machine's own address. None when empty.
	NAT []netip.Prefix
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Log gets why EC2 did not show a machine; the default logger when nil.
	Log *slog.Logger
}

// EC2 proves which EC2 instance asks, by its signed instance identity document.
type EC2 struct{ config EC2Config }

// NewEC2 makes one.
func NewEC2(config EC2Config) (*EC2, error) {
	if len(config.Accounts) == 0 || config.Region == "" || len(config.Certificates) == 0 ||
		config.Machines == nil {
		return nil, errors.New("cannot attest machines of EC2: accounts, a region, certificates " +
			"and machines are needed")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	return &EC2{config}, nil
}

// Name is "ec2".
func (e *EC2) Name() string { return EC2Name }

// Attest says which machine it is that shows the signed document from that address, an IP, and
// runs there now. A machine without an error is proved; one beside an error is the one that the
// document is about. PERMISSION_DENIED with ATTESTATION_INVALID or ATTESTATION_EXPIRED, UNAVAILABLE
// (ATTESTATION_INVALID) while EC2 does not show that it runs.
func (e *EC2) Attest(ctx context.Context, signed []byte,
	address string) (inventory.Attested, error) {
	now := e.config.Now()
	content, err := verified(signed, e.config.Certificates, now)
	var d document
	if err == nil {
		d, err = readDocument(content)
	}
	if err == nil {
		err = e.ofUs(d)
	}
	if err != nil {
		return inventory.Attested{}, refused("the signed instance identity document is refused: "+
			"%v", err)
	}
	machine := inventory.Attested{Provider: EC2Name, Machine: d.Instance, Started: d.Started,
		Expires: d.Started.Add(maxAge)}
	if err := inTime(machine, now); err != nil {
		return machine, err
	}
	shown, err := e.running(ctx, d.Instance)
	if err != nil {
		return machine, err
	}
	machine.Created = shown.CreatedAt
	return machine, e.isAt(shown, address)
}

func (e *EC2) ofUs(d document) error {
	if !slices.Contains(e.config.Accounts, d.Account) {
		return fmt.Errorf("it is of account %.20q, which is none of attest_accounts", d.Account)
	}
	if d.Region != e.config.Region {
		return fmt.Errorf("it is of region %.40q, and the control plane's is %s", d.Region,
			e.config.Region)
	}
	return nil
}

func inTime(m inventory.Attested, now time.Time) error {
	switch age := now.Sub(m.Started); {
	case age > maxAge:
		return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ATTESTATION_EXPIRED,
			fmt.Sprintf("machine %s was started at %s, more than %s ago", m.Machine,
				stamp(m.Started), maxAge),
			errs.WithHint("stop the machine and start it, for a reboot does not renew this, or "+
				"make it join by a token", errs.Call("CreateJoinToken")))
	case age < -maxAhead:
		return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ATTESTATION_EXPIRED,
			fmt.Sprintf("machine %s was started at %s by EC2's clock, and it is %s here",
				m.Machine, stamp(m.Started), stamp(now)),
			errs.WithHint("set the clock of the control plane's host (timedatectl set-ntp true)"))
	}
	return nil
}

// running is the machine as EC2 shows it, once it runs.
func (e *EC2) running(ctx context.Context, id string) (provider.Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	m, err := e.config.Machines.GetMachine(ctx, id)
	switch {
	case errors.Is(err, provider.ErrNotFound):
		return m, wait("EC2 does not show machine %s", id)
	case err != nil:
		e.config.Log.Warn("cannot attest a machine: EC2 does not show it", "machine", id,
			"error", err)
		return m, wait("EC2 does not answer about machine %s", id)
	case m.State == provider.MachinePending || m.State == provider.MachineRunning &&
		m.Address == "":
		return m, wait("machine %s is pending", id)
	case m.State != provider.MachineRunning:
		return m, refused("machine %s does not run: it is %s", id, m.State)
	}
	return m, nil
}

// isAt refuses what comes from elsewhere than the machine itself, or the NAT that it is behind.
func (e *EC2) isAt(m provider.Machine, address string) error {
	from, err := netip.ParseAddr(address)
	from = from.Unmap().WithZone("")
	if err == nil && (from.String() == m.Address || slices.ContainsFunc(e.config.NAT,
		func(nat netip.Prefix) bool { return nat.Contains(from) })) {
		return nil
	}
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ATTESTATION_INVALID,
		fmt.Sprintf("the request comes from %.60q, and machine %s is at %s", address, m.ID,
			m.Address),
		errs.WithHint("make the machine join by a token; where it is behind a NAT of yours, name "+
			"the address of that in attest_nat", errs.Call("CreateJoinToken")))
}

func refused(format string, args ...any) error {
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ATTESTATION_INVALID,
		fmt.Sprintf(format, args...),
		errs.WithHint("make the machine join by a token", errs.Call("CreateJoinToken")))
}

// wait is for what may come right by itself until the five minutes are over.
func wait(format string, args ...any) error {
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_ATTESTATION_INVALID,
		fmt.Sprintf(format, args...), errs.Retry(askAgain),
		errs.WithHint("it is tried again"))
}
