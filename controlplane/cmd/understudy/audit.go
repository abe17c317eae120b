package main

import (
	"path"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newAudit(c *cli) *cobra.Command {
	return group("audit", "See and verify who called what",
		`The audit log has every call that changes something, allowed or refused: who,
with which certificate, from where, what was asked for, and how it ended. A call
that cannot be recorded is not made. Its records form a chain of hashes, so that
one that was deleted or changed is found. Only an admin reads it.`,
		newAuditList(c), newAuditVerify(c), newAuditExport(c))
}

func newAuditList(c *cli) *cobra.Command {
	req := &cpv1.ListAuditRecordsRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the calls on record, newest first",
		Long: `List the calls on record, newest first: when, who, what was called with which
parameters, and how it ended. Secrets are shown as keyed hashes. A call without
an outcome is under way, or the control plane ended meanwhile.`,
		Example: `  understudy audit list
  understudy audit list --actor operator/alice --since 24h
  understudy audit list --method DeleteServer -o wide
  understudy audit list --limit 1000 -o json`,
	})
	filters(v, "")
	v.flag("actor", "actor", "only the calls of this `ACTOR`, such as operator/alice")
	v.flag("method", "method", "only calls with this `TEXT` in their method, such as DeleteServer")
	v.flag("chain", "chain", "the calls of this `CHAIN`, as \"audit verify\" prints it",
		"those of the control plane")
	v.checks = append(v.checks, func() error {
		req.Actor = identityOf(req.GetActor())
		return nil
	})
	l := list[*cpv1.ListAuditRecordsRequest, *cpv1.ListAuditRecordsResponse, *cpv1.AuditRecord]{
		call: (*api).ListAuditRecords, rows: (*cpv1.ListAuditRecordsResponse).GetRecords,
		newest: true, empty: "no calls", columns: auditColumns}
	return l.command(v)
}

func auditColumns([]*cpv1.AuditRecord) []column[*cpv1.AuditRecord] {
	return []column[*cpv1.AuditRecord]{
		{head: "SEQ", path: "seq"},
		{head: "TIME", path: "time",
			text: func(r *cpv1.AuditRecord) string { return stamp(r.GetTime().AsTime()) }},
		{head: "WHO", path: "actor",
			text: func(r *cpv1.AuditRecord) string { return show.Who(r.GetActor()) }},
		{head: "FROM", path: "address", wide: true},
		{head: "SERIAL", path: "serial", wide: true},
		{head: "GRANT", path: "grant", wide: true},
		{head: "CALL", path: "method", text: auditCall},
		{head: "OUTCOME", path: "code", text: auditOutcome},
		{head: "PARAMETERS", path: "parameters"},
	}
}

func auditCall(r *cpv1.AuditRecord) string {
	if r.GetMethod() != "" {
		return path.Base(r.GetMethod())
	}
	return "(" + enum.Word(r.GetKind()) + ")"
}

func auditOutcome(r *cpv1.AuditRecord) string {
	switch r.GetKind() {
	case cpv1.AuditKind_AUDIT_KIND_LEFT_OUT:
		return strconv.FormatInt(r.GetCount(), 10) + " refused calls"
	case cpv1.AuditKind_AUDIT_KIND_FETCHED:
		return strconv.FormatInt(r.GetCount(), 10) + " records of " + r.GetChain()
	case cpv1.AuditKind_AUDIT_KIND_PRUNED:
		return "records up to " + strconv.FormatInt(r.GetThrough(), 10)
	case cpv1.AuditKind_AUDIT_KIND_REFUSED:
		return "refused: " + r.GetReason()
	}
	if r.GetReason() != "" {
		return r.GetCode() + ": " + r.GetReason()
	}
	return r.GetCode()
}
