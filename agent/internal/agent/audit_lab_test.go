//go:build lab

package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Calls of an operator, allowed and refused, are fetched by the control plane, also after the agent
// was killed. Without room for their record changes are refused, and reads are not.
func TestAgentsAudit(t *testing.T) {
	a := install(t)
	source := a.ca.Source(identity.Operator("ann"))
	ann := agentv1.NewSystemdServiceClient(a.dial(t, source))
	reset := &agentv1.ResetFailedUnitRequest{Unit: "mariadb.service"}
	if _, err := ann.ResetFailedUnit(t.Context(), reset); !needsGrant(err) {
		t.Errorf("without a grant: %v", err)
	}
	a.grants(t, 1, source)
	if _, err := ann.ResetFailedUnit(t.Context(), reset); err != nil {
		t.Fatal(err)
	}
	vic := agentv1.NewSystemdServiceClient(a.dial(t, a.ca.Source(identity.Viewer("vic"))))
	if _, err := vic.ResetFailedUnit(t.Context(), reset); !errors.Is(err, errs.PermissionDenied) {
		t.Error(err)
	}
	lab.Run(t, "systemctl", "kill", "--signal=KILL", unitName)
	lab.Run(t, "systemctl", "restart", unitName)
	fetched := func(kept audit.Head) (calls []string, head audit.Head) {
		answer, err := agentv1.NewAuditServiceClient(a.dial(t,
			a.ca.Source(identity.ControlPlane()))).FetchAuditRecords(t.Context(),
			&agentv1.FetchAuditRecordsRequest{KeptSeq: kept.Seq, KeptHash: kept.Hash})
		if err != nil {
			t.Fatal(err)
		}
		v := audit.NewVerifier(answer.GetChain())
		for _, text := range answer.GetLines() {
			var line audit.Line
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
			v.Add(line)
			r, err := line.Read()
			if err != nil {
				t.Fatal(err)
			}
			calls = append(calls, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Kind,
				strings.TrimPrefix(r.Who, "spiffe://understudy/"), filepath.Base(r.Method)+r.Code,
				r.Grant)))
		}
		if found := v.Finish(); len(found.Problems) > 0 {
			t.Errorf("found %v", found.Problems)
		}
		return calls, audit.Head{Seq: answer.GetHeadSeq(), Hash: answer.GetHeadHash()}
	}
	want := []string{"refused operator/ann ResetFailedUnitPermissionDenied",
		"begin controlplane SetGrants", "end  SetGrantsOK",
		"begin operator/ann ResetFailedUnit grant-000000000000", "end  ResetFailedUnitOK",
		"refused viewer/vic ResetFailedUnitPermissionDenied"}
	if got, _ := fetched(audit.Head{}); !slices.Equal(got, want) {
		t.Errorf("fetched %q, want %q", got, want)
	}
	_, err := agentv1.NewAuditServiceClient(a.dial(t, source)).FetchAuditRecords(t.Context(),
		&agentv1.FetchAuditRecordsRequest{})
	if !errors.Is(err, errs.PermissionDenied) {
		t.Errorf("an operator fetches: %v", err)
	}
	a.fullDisk(t, reset, source)
}

// fullDisk has the agent keep its audit on a filesystem without room.
func (a *installed) fullDisk(t *testing.T, reset *agentv1.ResetFailedUnitRequest,
	source identity.Source) {
	t.Helper()
	ann := agentv1.NewSystemdServiceClient(a.dial(t, source))
	const dir = state + "/audit"
	lab.Run(t, "systemctl", "stop", unitName)
	lab.Run(t, "mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", dir)
	t.Cleanup(func() {
		lab.Try("systemctl", "stop", unitName)
		lab.Try("umount", dir)
	})
	lab.Run(t, "systemctl", "start", unitName)
	a.grants(t, 1, source)
	if _, err := ann.ResetFailedUnit(t.Context(), reset); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(dir + "/filler")
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	filler.Close()
	for range 20 { // the last page of the file takes some
		if _, err = ann.ResetFailedUnit(t.Context(), reset); err != nil {
			break
		}
	}
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_AUDIT_UNAVAILABLE {
		t.Errorf("on a full disk: %v", err)
	}
	if _, err := ann.GetUnit(t.Context(),
		&agentv1.GetUnitRequest{Unit: "mariadb.service"}); err != nil {
		t.Errorf("a read on a full disk: %v", err)
	}
	a.grants(t, 2) // a grant that is revoked ends all the same
	if _, err := ann.ResetFailedUnit(t.Context(), reset); !needsGrant(err) {
		t.Errorf("a grant does not end on a full disk: %v", err)
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	a.grants(t, 3, source)
	if _, err := ann.ResetFailedUnit(t.Context(), reset); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
