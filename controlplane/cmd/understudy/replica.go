package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const replicaLong = `A replica is a server that follows a primary. It is made from a snapshot of the
primary's data volume. It is READY when both replication threads run, it has
applied a target position that was taken on the primary after they started, and
its data was verified to the level asked for.

A replica is a server: "server update" and "server delete" work on it.`

func newReplica(c *cli) *cobra.Command {
	return group("replica", "Create, verify, rebuild and list replicas", replicaLong,
		newReplicaCreate(c), newReplicaVerify(c), newReplicaRebuild(c),
		newReplicaRotateCredentials(c), newReplicaList(c),
		newServerGet(c, "replica"))
}

func newReplicaList(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.ListServersRequest{Role: cpv1.Server_ROLE_REPLICA}, &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List replicas",
		Long: `List replicas with the primary that each follows, its state, and how it was
verified.`,
		Example: `  understudy replica list
  understudy replica list --of db1 --state degraded`,
	})
	return listServers(v, "no replicas; `understudy replica create --of PRIMARY` makes one")
}

// freeReplicaName is a name for a replica of a primary that no server has or had: "db1-r1",
// "db1-r2", …
func freeReplicaName(ctx context.Context, a *api, primary string) (string, error) {
	servers, err := allServers(ctx, a, &cpv1.ListServersRequest{ShowDeleted: true})
	if err != nil {
		return "", err
	}
	taken := map[string]bool{}
	for _, s := range servers {
		taken[s.GetName()] = true
	}
	const room = 34 // of the 40 characters of a name, the rest is for the number
	stem := primary[:min(len(primary), len(serverKind)+1+room)]
	for n := 1; ; n++ {
		if name := fmt.Sprintf("%s-r%d", stem, n); !taken[name] {
			return name, nil
		}
	}
}
