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

const serverLong = `A server is the record of one MariaDB server and of the machine that it runs on: a primary, or a replica of one.

A primary is made with "server create", a replica with "replica create". What has happened to a server shows "event list --on servers/NAME".`

func (c *cli) newServer() *cobra.Command {
	return c.group("server", "Make, show, change and take away MariaDB servers", serverLong,
		c.newServerCreate(), c.newServerList(), c.newServerGet(), c.newServerUpdate(),
		c.newServerDelete())
}

// pageSize is how many records are asked for at once.
const pageSize = 500

// allServers is every server that the request means, page by page.
func allServers(ctx context.Context, a *api,
	req *cpv1.ListServersRequest) (*cpv1.ListServersResponse, error) {
	all := &cpv1.ListServersResponse{}
	req.PageSize = pageSize
	for {
		page, err := a.servers.ListServers(ctx, req)
		if err != nil {
			return nil, err
		}
		all.Servers = append(all.Servers, page.GetServers()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return all, nil
		}
	}
}

func getServer(ctx context.Context, a *api, name string) (*cpv1.Server, error) {
	answer, err := a.servers.GetServer(ctx, &cpv1.GetServerRequest{Name: name})
	return answer.GetServer(), err
}

func serverHead() []string {
	return []string{"NAME", "ROLE", "STATE", "PRIMARY", "ADDRESS", "MARIADB", "VERIFIED", "SEEN"}
}

func (c *cli) serverRow(st show.Style, s *cpv1.Server) []string {
	return []string{
		show.ID(s.GetName()), roleWord(s.GetRole()), st.State(trimEnum(s.GetState())),
		show.ID(s.GetPrimary()), endpoint(s),
		show.Clean(s.GetMariadbVersion()), enum.Word(s.GetVerified().GetLevel()),
		show.Age(c.Now(), s.GetLastSeenTime().AsTime()),
	}
}

func roleWord(r cpv1.Server_Role) string {
	return enum.Word(r)
}

// trimEnum is a state as people read it: "READY" for STATE_READY, "" for none.
func trimEnum(state fmt.Stringer) string {
	word := strings.TrimPrefix(state.String(), "STATE_")
	if word == "UNSPECIFIED" {
		return ""
	}
	return word
}

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

// optionFlag adds the flag for more MariaDB options.
func optionFlag(cmd *cobra.Command, options *map[string]string) {
	cmd.Flags().StringToStringVar(options, "option", nil, "more of MariaDB's options, "+
		"`NAME=VALUE`, from the agent's allow-list; may be given again")
	cmd.Flags().Lookup("option").DefValue = ""
}

// checkOptions refuses names and values that can be no option.
func checkOptions(options map[string]string) error {
	for name, value := range options {
		if !optionPattern.MatchString(name) || strings.ContainsAny(value, "\n\r\x00") {
			return usageError{message: "--option " + quote(name+"="+value) +
				" is no option of MariaDB",
				hint: "write for example --option max_connections=500"}
		}
	}
	return nil
}
