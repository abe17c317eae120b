package agent

import (
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// rules says who may call what. Every method is named: one that is not cannot be called, and keeps
// the agent from starting.
func rules() authz.Table {
	table := authz.Table{}
	for service, methods := range map[string][]string{
		agentv1.HostService_ServiceDesc.ServiceName:        {"GetHost", "SetControlPlane"},
		agentv1.ObservationService_ServiceDesc.ServiceName: {"Observe"},
		agentv1.SystemdService_ServiceDesc.ServiceName: {
			"GetUnit", "ListUnits", "StartUnit", "StopUnit", "RestartUnit", "ReloadUnit",
			"EnableUnit", "DisableUnit", "MaskUnit", "UnmaskUnit",
			"ResetFailedUnit", "EnsureUnit", "WatchUnits", "TailJournal",
			"SetDropIn", "DeleteDropIn",
		},
		agentv1.MountService_ServiceDesc.ServiceName: {
			"ListBlockDevices", "GetMount", "ListMounts", "EnsureMount", "EnsureBindMount",
			"EnsureUnmounted", "FormatVolume", "GrowFilesystem",
			"FreezeFilesystem",
		},
		agentv1.MariaDBService_ServiceDesc.ServiceName: {
			"GetStatus", "CheckDatadir", "SetConfiguration", "PrepareDatadir", "Quiesce",
			"EndQuiesce", "ProveWritable", "ListBinlogs", "ReserveBinlogs", "ReleaseBinlogs",
			"SetBinlogExpiry", "PurgeBinlogs", "EnsureReplicationAccount",
			"DeleteReplicationAccount", "PrepareReplica", "ConfigureReplica", "StartReplication",
			"StopReplication", "ResetReplication", "WaitForGtid", "SetReadOnly", "ChecksumTables",
			"ReadInventory", "ListTables", "ChecksumRows", "ConfirmHistory", "UpgradeDatadir",
		},
	} {
		for _, method := range methods {
			table["/"+service+"/"+method] = []identity.Role{identity.RoleControlPlane,
				identity.RoleOperator}
		}
	}
	return table
}
