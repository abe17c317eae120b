package agent

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/agent/internal/grants"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// methods are some of each service.
type methods map[string][]string

// observed says how the host is, and costs it little.
func observed() methods {
	return methods{
		agentv1.HostService_ServiceDesc.ServiceName:        {"GetHost"},
		agentv1.ObservationService_ServiceDesc.ServiceName: {"Observe"},
		agentv1.SystemdService_ServiceDesc.ServiceName:     {"GetUnit", "ListUnits", "WatchUnits"},
		agentv1.MountService_ServiceDesc.ServiceName: {"ListBlockDevices", "GetMount",
			"ListMounts"},
		agentv1.MariaDBService_ServiceDesc.ServiceName: {"GetStatus", "ListBinlogs"},
	}
}

// examined changes nothing either, but shows of the data, or holds and loads MariaDB: a line of a
// journal has a statement in it, a chunk the key that it ends at.
func examined() methods {
	return methods{
		agentv1.SystemdService_ServiceDesc.ServiceName: {"TailJournal"},
		agentv1.MariaDBService_ServiceDesc.ServiceName: {"CheckDatadir", "WaitForGtid",
			"ChecksumTables", "ReadInventory", "ListTables", "ChecksumRows"},
	}
}

// changed is all else: operators need a grant for it.
func changed() methods {
	return methods{
		agentv1.HostService_ServiceDesc.ServiceName: {"SetControlPlane",
			"RenewCertificates"},
		agentv1.SystemdService_ServiceDesc.ServiceName: {
			"StartUnit", "StopUnit", "RestartUnit", "ReloadUnit", "EnableUnit", "DisableUnit",
			"MaskUnit", "UnmaskUnit", "ResetFailedUnit", "EnsureUnit", "SetDropIn", "DeleteDropIn",
		},
		agentv1.MountService_ServiceDesc.ServiceName: {
			"EnsureMount", "EnsureBindMount", "EnsureUnmounted", "FormatVolume", "GrowFilesystem",
			"FreezeFilesystem",
		},
		agentv1.MariaDBService_ServiceDesc.ServiceName: {
			"SetConfiguration", "PrepareDatadir", "Quiesce", "EndQuiesce", "ProveWritable",
			"ReserveBinlogs", "ReleaseBinlogs", "SetBinlogExpiry", "PurgeBinlogs",
			"EnsureReplicationAccount", "DeleteReplicationAccount", "PrepareReplica",
			"ConfigureReplica", "ReconnectReplica", "StartReplication", "StopReplication",
			"ResetReplication", "SetReadOnly", "ConfirmHistory", "UpgradeDatadir",
		},
	}
}

// fetched is for the control plane alone, which keeps it.
func fetched() methods {
	return methods{agentv1.AuditService_ServiceDesc.ServiceName: {"FetchAuditRecords"}}
}

// Rules says who may call what. Every method is named: one that is not cannot be called, and keeps
// the agent from starting. Break-glass is root of this host, over the agent's socket.
func Rules() (authz.Table, error) {
	plane, root := identity.RoleControlPlane, identity.RoleBreakGlass
	told := methods{agentv1.HostService_ServiceDesc.ServiceName: {"SetDenyList",
		"SetGrants"}}
	return authz.Merge(told.by([]identity.Role{plane}),
		observed().by(authz.Readers(plane, root)), examined().by(authz.Changers(plane, root)),
		changed().by(authz.Changers(plane, root)), fetched().by([]identity.Role{plane}))
}

// by are the rules of methods that these roles may call.
func (m methods) by(roles []identity.Role) authz.Table {
	table := authz.Table{}
	for service, names := range m {
		for _, name := range names {
			table["/"+service+"/"+name] = roles
		}
	}
	return table
}

// admission refuses who works with some servers alone, then changes of operators without a grant.
func admission(granted *grants.List) chassis.Admit {
	return func(ctx context.Context, method string) (context.Context, func(), error) {
		if err := wholeFleet(ctx); err != nil {
			return nil, nil, err
		}
		return granted.Admit(ctx, method)
	}
}

// wholeFleet refuses operators who work with some servers alone: which they are, the control plane
// knows, and no agent.
func wholeFleet(ctx context.Context) error {
	caller := identity.PeerOf(ctx)
	if caller.Certificate == nil || !identity.Scoped(caller.Certificate) {
		return nil
	}
	return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
		fmt.Sprintf("%s works with some servers alone, and may call no agent", caller.Identity),
		errs.WithHint("call the control plane, or ask an operator who works with all servers"))
}
