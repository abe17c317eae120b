package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const replicaLong = `A replica is a server that follows a primary. It is made from a snapshot of that primary's data volume, and it is READY only when both
replication threads run, it has passed a position taken on the primary after they started, and its data was verified to the level asked for.

A replica is a server: "server get", "server update" and "server delete" work on it.`

func (c *cli) newReplica() *cobra.Command {
	return c.group("replica", "Make and list verified replicas", replicaLong, c.newReplicaCreate(),
		c.newReplicaList())
}

func (c *cli) newReplicaList() *cobra.Command {
	var of string
	var all bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List replicas", Args: words(nil),
		Long: `List replicas with the primary that each follows, its state, and how it was verified.`,
		Example: `  understudy replica list
  understudy replica list --of db1`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			isReplica := func(
				s *cpv1.Server) bool {
				return s.GetRole() == cpv1.Server_ROLE_REPLICA
			}
			return c.listServers(ctx, of, all, isReplica,
				"no replicas: make one with understudy replica create --of PRIMARY")
		}),
	}
	cmd.Flags().StringVar(&of, "of", "", "only those of `PRIMARY`")
	cmd.Flags().BoolVar(&all, "all", false, "deleted ones too")
	c.completeFlag(cmd, "of", c.serverIDs)
	return cmd
}

// freeReplicaID is a name for a replica of that primary that no server has or ever had: "db1-r1",
// "db1-r2", …
func freeReplicaID(ctx context.Context, a *api, primary string) (string, error) {
	answer, err := allServers(ctx, a, &cpv1.ListServersRequest{ShowDeleted: true})
	if err != nil {
		return "", err
	}
	taken := map[string]bool{}
	for _, s := range answer.GetServers() {
		taken[s.GetName()] = true
	}
	const room = 34 // of the 40 characters of a name, the rest is for the number
	stem := primary[:min(len(primary), room)]
	for n := 1; ; n++ {
		if id := fmt.Sprintf("%s-r%d", stem, n); !taken[serverKind+"/"+id] {
			return id, nil
		}
	}
}
