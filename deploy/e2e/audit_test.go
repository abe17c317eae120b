//go:build lab

package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

var agentsChain = regexp.MustCompile(`(servers/db1/[0-9a-f]+): [0-9]+ records are as they were`)

// testAudit finds the calls of the parts before in the audit: of the control plane, and of an
// agent, once the control plane has them.
func (l *lab) testAudit(t *testing.T) {
	chain, verified := "", ""
	awaitTrue(t, time.Minute, "an agent's calls are in the audit", func() bool {
		out, err := l.try("audit", "verify")
		if err != nil {
			t.Fatalf("verified: %v\n%s", err, out)
		}
		if found := agentsChain.FindStringSubmatch(out); found != nil {
			chain, verified = found[1], out
		}
		if chain == "" {
			return false
		}
		out, err = l.try("audit", "list", "--chain", chain, "--limit", "1000", "-o", "wide")
		return err == nil && strings.Contains(out, "admin/admin") // the calls by grpcurl
	})
	t.Log(verified)
	calls := l.run("audit", "list", "--chain", chain, "--limit", "1000")
	for _, want := range []string{"controlplane", "admin/admin", "EnsureMount", "Quiesce",
		"EnsureReplicationAccount", `"user":"us_db2"`, "PermissionDenied: NOT_ALLOWED",
		"refused: GRANT_REQUIRED", "SetGrants"} {
		if !strings.Contains(calls, want) {
			t.Errorf("%q is not in:\n%s", want, calls)
		}
	}
	if strings.Contains(calls, `"password"`) {
		t.Errorf("a replica got a password, not a certificate:\n%s", calls)
	}
	own := l.run("audit", "list", "--limit", "1000")
	for _, want := range []string{"CreateReplica", "anonymous", "Enroll",
		"records of servers/db1/"} {
		if !strings.Contains(own, want) {
			t.Errorf("%q is not in:\n%s", want, own)
		}
	}
}
