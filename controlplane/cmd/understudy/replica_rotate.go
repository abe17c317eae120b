package main

import (
	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newReplicaRotateCredentials(c *cli) *cobra.Command {
	req := &cpv1.RotateReplicaCredentialsRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "rotate-credentials NAME", Short: "Get a replica new credentials for its primary",
		Long: `Get a replica new credentials for its primary. Its host gets new keys and
certificates, and its IO thread alone is restarted to sign in with them: both
servers go on serving, and the relay log is kept.

A replica that signs in with a password is moved to certificates, which stops
its threads for a moment. Where the agent of the primary or of the replica is of
a version that knows no certificates for replicas, it gets a new password.`,
		Example: `  understudy replica rotate-credentials db2
  understudy replica rotate-credentials db2 --dry-run`,
	}, "name")
	return jobVerb(v, (*api).RotateReplicaCredentials, jobParts{news: c.sayServer})
}
