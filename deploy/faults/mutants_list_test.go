//go:build lab

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is the code that carries a row, taken out: the row has to fail, and for that reason.
type mutant struct {
	name, file, old, new string
	row                  string // as TestFaults names it
	says                 string // a part of what the failure has to say
}

var mutants = []mutant{
	{
		name: "a masked unit is not unmasked", row: "H1/masked_later", says: "masked",
		file: "agent/internal/systemd/ensure.go",
		old:  "_, _, err := e.m.Files.Unmask(ctx, e.name)", new: "var err error",
	},
	{
		name: "the filesystem's UUID is not compared", row: "H6/wrong_volume_under_the_right_name",
		says: "the wrong volume was written to",
		file: "agent/internal/mount/plan.go",
		old:  `case r.SourceUUID != "" && device.UUID != r.SourceUUID:`, new: "case false:",
	},
	{
		name: "a step relies on start_mariadb", row: "H18/configure_replica_alone",
		says: "configure_replica",
		file: "controlplane/internal/workflow/host/threads.go",
		old:  "st, err := h.EnsureServing(ctx)", new: "st, err := h.Agent.Status(ctx)",
	},
	{
		name: "the unit of Quiesce has no end", row: "S2/process_stopped",
		says: "the primary takes writes again",
		file: "agent/internal/systemd/transient.go",
		old:  `add(spec.RuntimeMax > 0, "RuntimeMaxUSec"`, new: `add(false, "RuntimeMaxUSec"`,
	},
	{
		name: "a lost cut is not looked for", row: "S3/killed_after_the_cut",
		says: "the provider has 2 snapshots",
		file: "controlplane/internal/workflow/snapshot/take.go",
		old:  "for _, found := range list {\n\t\tif found.ID == snap.ProviderID",
		new:  "for _, found := range list[:0] {\n\t\tif found.ID == snap.ProviderID",
	},
	{
		name: "a purge does not ask what replicas have applied",
		row:  "R12/a_replica_that_stopped", says: "was deleted, which",
		file: "controlplane/internal/replication/purge.go",
		old:  "for _, r := range readers {", new: "for _, r := range readers[:0] {",
	},
	{
		name: "nobody looks for files elsewhere", row: "F1/redo_log_on_another_disk",
		says: "was to fail with FILES_ELSEWHERE",
		file: "agent/internal/mariadb/strays.go",
		old:  "if err != nil || len(found) == 0 {\n\t\treturn err",
		new:  "if err != nil || len(found) >= 0 {\n\t\treturn err",
	},
	{
		name: "a history is not compared", row: "F2/RESET_MASTER,_and_the_numbers_come_again",
		says: `not "GTID_MISMATCH"`,
		file: "controlplane/internal/replication/history.go",
		old:  "l.History != primary.BinlogHistory {", new: "false {",
	},
	{
		name: "what is known of a history is not offered", row: "F2/the_state_of_the_agent_is_lost",
		says: "GTID_MISMATCH",
		file: "controlplane/internal/agentpool/history.go",
		old:  `if known.Claim.ID == "" {`, new: "if true {",
	},
	{
		name: "what replicas have read is not compared",
		row:  "F2/a_tail_is_lost_while_the_agent_is_down", says: "LINEAGE_BROKEN",
		file: "agent/internal/mariadb/historyclaim.go",
		old:  "for _, read := range known.Reads {", new: "for _, read := range known.Reads[:0] {",
	},
	{
		name: "what runs is not compared with what is meant",
		row:  "F12/on_the_command_line_of_a_READY_replica", says: "is DEGRADED",
		file: "agent/internal/mariadb/running.go",
		old:  "found := Mismatches(ours, string(o.dropIn), running)",
		new:  "found := Mismatches(nil, string(o.dropIn), running)",
	},
	{
		name: "settings that lose changes are not read", row: "F5/filter_of_the_binary_log",
		says: "MARIADB_SETTING",
		file: "controlplane/internal/replication/losses.go",
		old:  "found := losses(s.Settings, logLosses())", new: "var found []string",
	},
	{
		name: "the inventory is not compared", row: "F8/objects_that_were_lost",
		says: "was to be refused",
		file: "controlplane/internal/workflow/verify/inventory.go",
		old:  "if a == b && !a.Busy &&", new: "if a == a || a == b && !a.Busy &&",
	},
	{
		name: "a torn relay state is left", row: "V2/torn_relay_state_of_a_READY_replica",
		says: "V2",
		file: "agent/internal/mariadb/relaystate.go",
		old:  "if err != nil || !configured || !current.neverStarted() {",
		new:  "if err == nil || err != nil || !configured || !current.neverStarted() {",
	},
}

// mutated is the mutant's file as it is, and with the mutant.
func (m mutant) mutated() (path, code string, err error) {
	if path, err = filepath.Abs(filepath.Join("../..", m.file)); err != nil {
		return "", "", err
	}
	own, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	if strings.Count(string(own), m.old) != 1 {
		return "", "", fmt.Errorf("%s does not have this once: %s", m.file, m.old)
	}
	return path, strings.Replace(string(own), m.old, m.new, 1), nil
}

// TestMutantsHaveTheirPlace needs no host: code that moved would leave its row without a proof.
func TestMutantsHaveTheirPlace(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		if !strings.Contains(string(page), "\n| "+m.name+" | ") {
			t.Errorf("docs/faults.md does not have the mutant %q", m.name)
		}
		if _, _, err := m.mutated(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}
