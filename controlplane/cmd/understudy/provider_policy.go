package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/internal/app"
)

func newProviderPolicy(c *cli) *cobra.Command {
	var fleet, region, role string
	var keys []string
	cmd := &cobra.Command{
		Use: "policy", Short: "Print the IAM policy that the provider ec2 needs",
		Args: takes("policy"), ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Print the IAM policy of a control plane that works with Amazon EC2. It allows the
calls that the control plane makes, on objects of its fleet alone. With the ARNs of
keys it lets EC2 use them for encrypted volumes, with that of a role it allows to
give that to machines. The control plane is not asked.`,
		Example: `  understudy provider policy
  understudy provider policy --fleet staging --region cn-north-1
  understudy provider policy --kms-key arn:aws:kms:eu-central-1:123456789012:key/0a1b2c3d`,
		RunE: c.do(func(context.Context, []string) error {
			policy, err := app.EC2Policy(fleet, region, keys, role)
			if err == nil {
				_, err = fmt.Fprintf(c.Stdout, "%s\n", policy)
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&fleet, "fleet", "default", "`NAME` of the fleet: --fleet of \"serve\"")
	cmd.Flags().StringVar(&region, "region", "eu-central-1",
		"a `REGION` of the partition: ARNs in China and in GovCloud differ")
	cmd.Flags().StringSliceVar(&keys, "kms-key", nil,
		"`ARN` of a customer managed key of volumes, several with commas")
	cmd.Flags().StringVar(&role, "instance-role", "",
		"`ARN` of the role in --ec2-instance-profile of \"serve\"")
	return cmd
}
