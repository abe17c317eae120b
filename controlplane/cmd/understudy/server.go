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

// Kinds of resources, as their names begin.
const (
	serverKind   = "servers"
	snapshotKind = "snapshots"
	jobKind      = "jobs"
	operatorKind = "operators"
)

const serverLong = `A server is the record of one MariaDB server and of the machine that it runs on:
a primary, or a replica of one.

"server create" makes a primary, "replica create" a replica. "event list --on
servers/NAME" shows what happened to a server.`

func newServer(c *cli) *cobra.Command {
	return group("server", "Create, show, change and delete MariaDB servers", serverLong,
		newServerCreate(c), newServerList(c), newServerGet(c, "server"), newServerUpdate(c),
		newServerGrow(c), newServerReboot(c), newServerStop(c), newServerStart(c),
		newServerPurgeBinlogs(c), newServerDelete(c))
}

func getServer(ctx context.Context, a *api, name string) (*cpv1.Server, error) {
	answer, err := a.GetServer(ctx, &cpv1.GetServerRequest{Name: name})
	return answer.GetServer(), err
}

// trimEnum is a state as tables show it: "READY" for STATE_READY, "" for none.
func trimEnum[E enum.Enum](state E) string { return strings.ToUpper(enum.Word(state)) }

func endpoint(s *cpv1.Server) string {
	if s.GetAddress() == "" || s.GetPort() == 0 {
		return s.GetAddress()
	}
	return fmt.Sprintf("%s:%d", s.GetAddress(), s.GetPort())
}

// sayServer prints in a line what became of a server; when that cannot be read, the job's end has
// said enough.
func (c *cli) sayServer(ctx context.Context, a *api, job *cpv1.Job) {
	if s, err := getServer(ctx, a, job.GetSubject()); err == nil {
		c.say("%s", serverLine(s))
	}
}

func serverLine(s *cpv1.Server) string {
	line := fmt.Sprintf("%s is %s", show.ID(s.GetName()), trimEnum(s.GetState()))
	if at := endpoint(s); at != "" {
		line += " at " + show.Clean(at)
	}
	if s.GetMariadbVersion() != "" {
		line += ", MariaDB " + show.Clean(s.GetMariadbVersion())
	}
	if s.GetPrimary() != "" {
		line += ", a replica of " + show.ID(s.GetPrimary())
	}
	if level := enum.Word(s.GetVerified().GetLevel()); level != "" {
		line += ", verified: " + level
	}
	return line
}
