package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/hint"
	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// newServerGet is the verb of servers and of replicas: noun says of which.
func newServerGet(c *cli, noun string) *cobra.Command {
	return answer(newVerb(c, &cpv1.GetServerRequest{}, &cobra.Command{
		Use: "get NAME", Aliases: []string{"show"}, Short: "Show one " + noun,
		Long: `Show the record of one ` + noun + `: its role, why it is not READY, its machine, its
volumes, its replication, and how and when it was verified.`,
		Example: fmt.Sprintf("  understudy %s get db2\n"+
			"  understudy %s get db2 -o json | jq .server.state", noun, noun),
	}, "name"), (*api).GetServer, func(st show.Style, answer *cpv1.GetServerResponse) string {
		return serverRecord(c, st, answer.GetServer())
	})
}

func serverRecord(c *cli, st show.Style, s *cpv1.Server) string {
	return record(st, s, []column[*cpv1.Server]{
		{head: "name", path: "name"}, {head: "role", path: "role"}, {head: "state", path: "state"},
		{path: "state_reason"}, {head: "findings", lines: findingLines},
		{head: "jobs",
			lines: func(s *cpv1.Server) []string { return each(s.GetJobs(), jobLine) }},
		{head: "primary", path: "primary"},
		{head: "verified", text: func(s *cpv1.Server) string { return verified(s.GetVerified()) }},
		{head: "proved", text: func(s *cpv1.Server) string { return proved(s.GetProofs()) }},
		{head: "differs", lines: func(s *cpv1.Server) []string {
			return each(s.GetProofs().GetDifferences(), show.Clean)
		}},
		{head: "made from", path: "snapshot"}, {head: "address", text: endpoint},
		{head: "server_id", path: "server_id"}, {head: "MariaDB", path: "mariadb_version"},
		{head: "datadir", path: "datadir_version"},
		{head: "replication", text: func(s *cpv1.Server) string {
			return word(s.GetReplicationConfigured(), "configured", "not configured")
		}},
		{head: "binlog auto purge", text: func(s *cpv1.Server) string {
			return word(s.GetBinlogAutoPurge(), "on", "off")
		}},
		{head: "provider", path: "provider"}, {head: "machine", path: "machine"},
		{head: "image", path: "image"}, {head: "zone", path: "zone"},
		{head: "data volume", path: "data_volume"},
		{head: "mounts",
			lines: func(s *cpv1.Server) []string { return each(s.GetMounts(), mountLine) }},
		{head: "agent seen", text: func(s *cpv1.Server) string {
			if s.GetLastSeenTime() == nil {
				return "never"
			}
			return show.Age(c.Now(), s.GetLastSeenTime().AsTime())
		}},
		{head: "made", path: "create_time"}, {head: "etag", path: "etag"},
	})
}

// findingLines are why a server is not READY, each with the errors that say so and what helps.
func findingLines(s *cpv1.Server) []string {
	var lines []string
	for _, f := range s.GetFindings() {
		lines = append(lines, show.Clean(f.GetCode()+" since "+stamp(f.GetSinceTime().AsTime())+
			": "+f.GetText()))
		for _, line := range f.GetErrors() {
			lines = append(lines, "  "+show.Clean(line))
		}
		if text := hint.Text(errs.HintFromProto(f.GetHint())); text != "" {
			lines = append(lines, "  hint: "+text)
		}
	}
	return lines
}

func jobLine(j *cpv1.ServerJob) string {
	return show.Clean(j.GetName() + " " + enum.Word(j.GetState()) + ": " + j.GetTitle())
}

// verified is how and when a replica was compared with its primary.
func verified(v *cpv1.Verification) string {
	if v == nil {
		return ""
	}
	text := enum.Word(v.GetLevel())
	if v.GetGtid() != "" {
		text += " at GTID " + v.GetGtid()
	}
	return strings.TrimSpace(text + " " + stamp(v.GetTime().AsTime()))
}

// proved is how much of a replica continuous verification has proved.
func proved(p *cpv1.ServerProofs) string {
	if p == nil {
		return ""
	}
	text := fmt.Sprintf("%.0f %% within 24 h, %d of %d tables", 100*p.GetCoverage(),
		p.GetProvedTables(), p.GetTables())
	if p.GetUnfitTables() > 0 {
		text += fmt.Sprintf(", %d cannot be compared in parts", p.GetUnfitTables())
	}
	if p.GetOldestTime() != nil {
		text += ", the oldest proof of " + stamp(p.GetOldestTime().AsTime())
	}
	if p.GetPaused() != "" {
		text += ", paused: " + show.Clean(p.GetPaused())
	}
	return text
}

func mountLine(m *cpv1.ServerMount) string {
	if m.GetBindSource() != "" {
		return show.Clean(m.GetPath() + " (bind of " + m.GetBindSource() + ")")
	}
	return show.Clean(m.GetPath() + " on " + m.GetVolume())
}

func word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}
