// Package scope holds operators who work with some servers alone to these: what they may name in a
// request, and what they see in an answer. A method that has no rule here is refused to them.
package scope

import (
	"slices"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// Rule is what a method is for an operator with a scope. The zero Rule refuses it.
type Rule struct {
	// Open methods show and change nothing of a server.
	Open bool
	// Makes is the field of the request that names a server which is to be made.
	Makes string
	// Names are the fields of the request that name servers, snapshots and jobs.
	Names []string
	// Changes says that the method changes what is named: the primaries of these servers count too.
	// The agent of a replica reads what its primary writes.
	Changes bool
	// Lists says that the answer has a list, which the service narrows to wire.ScopeOf: where it is
	// read, so that pages and their tokens are those of the scope alone.
	Lists bool
}

// Rules are the rules of all methods of the control plane, by full name.
func Rules() map[string]Rule {
	reads := Rule{Names: []string{"name"}}
	changes := Rule{Names: []string{"name"}, Changes: true}
	lists, open, refused := Rule{Lists: true}, Rule{Open: true}, Rule{}
	return map[string]Rule{
		cpv1.ServerService_GetServer_FullMethodName:    reads,
		cpv1.ServerService_ListServers_FullMethodName:  lists,
		cpv1.ServerService_CreateServer_FullMethodName: {Makes: "name"},
		cpv1.ServerService_CreateReplica_FullMethodName: {Makes: "name",
			Names: []string{"primary", "snapshot"}, Changes: true},
		cpv1.ServerService_VerifyReplica_FullMethodName: changes,
		cpv1.ServerService_RebuildReplica_FullMethodName: {Names: []string{"name", "snapshot"},
			Changes: true},
		cpv1.ServerService_RotateReplicaCredentials_FullMethodName: changes,
		cpv1.ServerService_GrowServer_FullMethodName:               changes,
		cpv1.ServerService_RebootServer_FullMethodName:             changes,
		cpv1.ServerService_StopServer_FullMethodName:               changes,
		cpv1.ServerService_StartServer_FullMethodName:              changes,
		cpv1.ServerService_PurgeBinlogs_FullMethodName: {
			Names: []string{"name", "ignore_replicas"}, Changes: true},
		cpv1.ServerService_UpdateServer_FullMethodName: {Names: []string{"server.name"},
			Changes: true},
		cpv1.ServerService_DeleteServer_FullMethodName: changes,

		cpv1.SnapshotService_GetSnapshot_FullMethodName:   reads,
		cpv1.SnapshotService_ListSnapshots_FullMethodName: lists,
		cpv1.SnapshotService_CreateSnapshot_FullMethodName: {Names: []string{"server"},
			Changes: true},
		cpv1.SnapshotService_DeleteSnapshot_FullMethodName: changes,

		cpv1.JobService_GetJob_FullMethodName:       reads,
		cpv1.JobService_ListJobs_FullMethodName:     lists,
		cpv1.JobService_ListAttempts_FullMethodName: reads,
		cpv1.JobService_WatchJob_FullMethodName:     reads,
		cpv1.JobService_RetryJob_FullMethodName:     changes,
		cpv1.JobService_RedoStep_FullMethodName:     changes,
		cpv1.JobService_SkipStep_FullMethodName:     changes,
		cpv1.JobService_CancelJob_FullMethodName:    changes,
		cpv1.JobService_CleanupJob_FullMethodName:   changes,
		cpv1.JobService_ListEvents_FullMethodName:   lists,

		// The provider's objects and tasks are the whole fleet's.
		cpv1.ProviderService_CheckProvider_FullMethodName: refused,
		cpv1.ProviderService_ListImages_FullMethodName:    open,
		cpv1.ProviderService_ListObjects_FullMethodName:   refused,
		cpv1.ProviderService_SweepProvider_FullMethodName: refused,
		cpv1.ProviderService_ListTasks_FullMethodName:     refused,
		cpv1.ProviderService_CompleteTask_FullMethodName:  refused,
		cpv1.ProviderService_RefuseTask_FullMethodName:    refused,

		cpv1.EnrollmentService_CreateJoinToken_FullMethodName: {Makes: "server",
			Changes: true},
		cpv1.EnrollmentService_ListJoinTokens_FullMethodName: lists,
		cpv1.EnrollmentService_ListOperators_FullMethodName:  lists,
		// No agent lets in who has a scope: they get no grant, and revoke none.
		cpv1.EnrollmentService_CreateAgentGrant_FullMethodName: {Names: []string{"server"},
			Changes: true},
		cpv1.EnrollmentService_ListAgentGrants_FullMethodName:  lists,
		cpv1.EnrollmentService_RevokeAgentGrant_FullMethodName: refused,
		cpv1.EnrollmentService_RenewOperator_FullMethodName:    open,
		// An admin has no scope, and neither have agents and machines.
		cpv1.EnrollmentService_CreateOperator_FullMethodName: refused,
		cpv1.EnrollmentService_UpdateOperator_FullMethodName: refused,
		cpv1.EnrollmentService_Revoke_FullMethodName:         refused,
		// Laggards are servers of the whole fleet.
		cpv1.EnrollmentService_GetAuthorityStatus_FullMethodName:  refused,
		cpv1.EnrollmentService_RotateAuthority_FullMethodName:     refused,
		cpv1.EnrollmentService_RequestIntermediate_FullMethodName: refused,
		cpv1.EnrollmentService_InstallIntermediate_FullMethodName: refused,
		cpv1.EnrollmentService_GetAuthority_FullMethodName:        refused,
		cpv1.EnrollmentService_CheckJoinToken_FullMethodName:      refused,
		cpv1.EnrollmentService_Enroll_FullMethodName:              refused,
		cpv1.EnrollmentService_RenewExpired_FullMethodName:        refused,
		cpv1.EnrollmentService_CheckAgent_FullMethodName:          refused,
		cpv1.EnrollmentService_Renew_FullMethodName:               refused,
		cpv1.EnrollmentService_GetLoginIssuer_FullMethodName:      refused,
		cpv1.EnrollmentService_Login_FullMethodName:               refused,
		cpv1.EnrollmentService_BeginLogin_FullMethodName:          refused,
		cpv1.EnrollmentService_ExchangeDeviceCode_FullMethodName:  refused,
		cpv1.EnrollmentService_ReadmitOperator_FullMethodName:     refused,

		// The audit log is the whole fleet's, and for admins.
		cpv1.AuditService_ListAuditRecords_FullMethodName:   refused,
		cpv1.AuditService_ExportAuditRecords_FullMethodName: refused,
		cpv1.AuditService_VerifyAudit_FullMethodName:        refused,

		cpv1.ControlPlaneService_GetVersion_FullMethodName: open,
	}
}

// isRefused says whether the rule lets nothing through.
func (r Rule) isRefused() bool {
	return !r.Open && r.Makes == "" && len(r.Names) == 0 && !r.Lists
}

// fields are the fields of the request that count.
func (r Rule) fields() []string {
	if r.Makes == "" {
		return r.Names
	}
	return slices.Concat([]string{r.Makes}, r.Names)
}
