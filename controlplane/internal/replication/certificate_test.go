package replication_test

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

func TestACertificateThatIsNotRenewedIsAFinding(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		left    time.Duration
		replica bool
		says    string
	}{
		"just renewed":          {30 * 24 * time.Hour, true, ""},
		"due for renewal":       {9 * 24 * time.Hour, true, ""},
		"overdue":               {2 * 24 * time.Hour, true, "expires at 2026-01-04T15:04:05Z"},
		"expired":               {-time.Hour, true, "expired at 2026-01-02T14:04:05Z"},
		"expired, on a primary": {-time.Hour, false, "expired at"},
		"overdue, on a primary": {71 * time.Hour, false, "expires at"},
	} {
		o := replication.Observed{Status: replication.Status{
			Certificate: replication.Certificate{Server: "db2", Expires: now.Add(test.left)}}}
		expected := replication.Expected{Server: "db2", Now: now, Replica: test.replica}
		var found []replication.Finding
		for _, f := range o.Primary(7, expected) {
			if f.Code == replication.CertificateExpires {
				found = append(found, f)
			}
		}
		if test.says == "" {
			if len(found) > 0 {
				t.Errorf("%s: %+v", name, found)
			}
			continue
		}
		if len(found) != 1 || !strings.Contains(found[0].Text, test.says) {
			t.Fatalf("%s: %+v", name, found)
		}
		hint := found[0].Hint
		if rotates := len(hint.Actions) == 1 &&
			hint.Actions[0].Method == "RotateReplicaCredentials"; rotates != test.replica ||
			hint.Text == "" {
			t.Errorf("%s: hint %+v", name, hint)
		}
	}
	o := replication.Observed{}
	for _, f := range o.Primary(7, replication.Expected{Server: "db1", Now: now}) {
		if f.Code == replication.CertificateExpires {
			t.Errorf("a certificate that is not known: %+v", f)
		}
	}
}
