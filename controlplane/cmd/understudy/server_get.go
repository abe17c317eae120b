package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newServerGet() *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Aliases: []string{"show"}, Short: "Show one server",
		Args: words([]string{"NAME"}),
		Long: `Show the record of one server: its role, why it is not READY, its machine, its
volumes, its replication, and how and when it was verified.`,
		Example: `  understudy server get db1
  understudy server get db1 -o json | jq .server.state`,
		ValidArgsFunction: c.complete(c.serverIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := serverName(args[0])
			if err != nil {
				return err
			}
			return c.call(ctx, func(ctx context.Context, a *api) error {
				answer, err := a.servers.GetServer(ctx, &cpv1.GetServerRequest{Name: name})
				if err != nil {
					return err
				}
				return c.print(answer,
					func(st show.Style) string { return c.serverRecord(st, answer.GetServer()) })
			})
		}),
	}
}

func (c *cli) serverRecord(st show.Style, s *cpv1.Server) string {
	one := func(text string) []string { return []string{show.Clean(text)} }
	fields := []show.Field{
		{Name: "name", Values: one(show.ID(s.GetName()))},
		{Name: "role", Values: one(enum.Word(s.GetRole()))},
		{Name: "state", Values: []string{st.State(trimEnum(s.GetState())),
			show.Clean(s.GetStateReason())}},
		{Name: "primary", Values: one(show.ID(s.GetPrimary()))},
		{Name: "verified", Values: one(verified(s.GetVerified()))},
		{Name: "made from", Values: one(s.GetSnapshot())},
		{Name: "address", Values: one(endpoint(s))},
		{Name: "server_id", Values: one(number(s.GetServerId()))},
		{Name: "MariaDB", Values: one(s.GetMariadbVersion())},
		{Name: "datadir", Values: one(s.GetDatadirVersion())},
		{Name: "replication", Values: one(configured(s.GetReplicationConfigured()))},
		{Name: "binlog auto purge", Values: one(onOff(s.GetBinlogAutoPurge()))},
		{Name: "provider", Values: one(s.GetProvider())},
		{Name: "machine", Values: one(s.GetMachine())},
		{Name: "image", Values: one(s.GetImage())},
		{Name: "zone", Values: one(s.GetZone())},
		{Name: "data volume", Values: one(s.GetDataVolume())},
		{Name: "mounts", Values: rowsOf(s.GetMounts(), mountLine)},
		{Name: "agent seen", Values: one(seen(c, s))},
		{Name: "made", Values: one(stamp(s.GetCreateTime()))},
		{Name: "etag", Values: one(s.GetEtag())},
	}
	return show.Fields(st, fields)
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
	return strings.TrimSpace(text + " " + stamp(v.GetTime()))
}

func mountLine(m *cpv1.ServerMount) string {
	if m.GetBindSource() != "" {
		return show.Clean(m.GetPath() + " (bind of " + m.GetBindSource() + ")")
	}
	return show.Clean(m.GetPath() + " on " + m.GetVolume())
}

func seen(c *cli, s *cpv1.Server) string {
	if s.GetLastSeenTime() == nil {
		return "never"
	}
	return show.Age(c.Now(), s.GetLastSeenTime().AsTime())
}

func number(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func configured(b bool) string {
	if b {
		return "configured"
	}
	return "not configured"
}
