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

const serverLong = `A server is the record of one MariaDB server and of the machine that it runs on:
a primary, or a replica of one.

"server create" makes a primary, "replica create" a replica. "event list --on
servers/NAME" shows what happened to a server.`

func (c *cli) newServer() *cobra.Command {
	return c.group("server", "Create, show, change and delete MariaDB servers", serverLong,
		c.newServerCreate(), c.newServerList(), c.newServerGet(), c.newServerUpdate(),
		c.newServerDelete())
}

// allServers are all servers that a request means.
func allServers(ctx context.Context, a *api,
	req *cpv1.ListServersRequest) ([]*cpv1.Server, error) {
	all, _, err := pages(0, func(size int32, token string) ([]*cpv1.Server, string, error) {
		req.PageSize, req.PageToken = size, token
		page, err := a.servers.ListServers(ctx, req)
		return page.GetServers(), page.GetNextPageToken(), err
	})
	return all, err
}

func getServer(ctx context.Context, a *api, name string) (*cpv1.Server, error) {
	answer, err := a.servers.GetServer(ctx, &cpv1.GetServerRequest{Name: name})
	return answer.GetServer(), err
}

// trimEnum is a state as tables show it: "READY" for STATE_READY, "" for none.
func trimEnum[E enum.Enum](state E) string { return strings.ToUpper(enum.Word(state)) }

func endpoint(s *cpv1.Server) string {
	if s.GetAddress() == "" {
		return ""
	}
	if s.GetPort() == 0 {
		return show.Clean(s.GetAddress())
	}
	return fmt.Sprintf("%s:%d", show.Clean(s.GetAddress()), s.GetPort())
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// checkMachine refuses names and options that cannot exist.
func (m *machineFlags) check() error {
	for flag, value := range map[string]string{"image": m.image, "zone": m.zone} {
		if value != "" && !imagePattern.MatchString(value) {
			return usageError{message: "--" + flag + " " + quote(value) + " is not a valid name",
				hint: "`understudy provider images` lists the images"}
		}
	}
	for name, value := range m.options {
		if !optionPattern.MatchString(name) || strings.ContainsAny(value, "\n\r\x00") {
			return usageError{message: "--option " + quote(name+"="+value) +
				" is not a valid MariaDB option",
				hint: "write NAME=VALUE, for example --option max_connections=500"}
		}
	}
	return nil
}

// sayServer prints in a line what became of a server; when that cannot be read, the job's end has
// said enough.
func (c *cli) sayServer(ctx context.Context, a *api, job *cpv1.Job) {
	s, err := getServer(ctx, a, job.GetSubject())
	if err != nil {
		return
	}
	line := fmt.Sprintf("%s is %s", show.ID(s.GetName()), trimEnum(s.GetState()))
	if at := endpoint(s); at != "" {
		line += " at " + at
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
	c.say("%s", line)
}
