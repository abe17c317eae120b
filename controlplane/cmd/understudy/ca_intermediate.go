package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const intermediateLong = `An intermediate signs in place of a root whose key the control plane never
has. Its certificate comes from that root, by a request:

  understudy ca intermediate request > intermediate.csr
  ...                  # the root signs it, where its key is: docs/ca.md has the line
  cat intermediate.pem root.pem > chain.pem
  understudy ca intermediate install chain.pem
  understudy ca rotate # twice, when "ca status" shows nobody who lags`

func newCAIntermediate(c *cli) *cobra.Command {
	return group("intermediate", "Have a root sign that is kept elsewhere", intermediateLong,
		newCARequest(c), newCAInstall(c))
}

func newCARequest(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.RequestIntermediateRequest{}, &cobra.Command{
		Use: "request", Short: "Print a signing request for an intermediate",
		Long: `Print a signing request for an intermediate (PKCS #10 in PEM). It is no secret. The
key is made where "ca_key" says, and stays the same until it has signed: another
request is for the same one. The root must keep the name and the extensions.`,
		Example: `  understudy ca intermediate request
  openssl x509 -req -in intermediate.csr -copy_extensions copy -days 1095 \
    -CA root.pem -CAkey root-key.pem -out intermediate.pem`,
	})
	return answer(v, (*api).RequestIntermediate,
		func(_ show.Style, answer *cpv1.RequestIntermediateResponse) string {
			return string(answer.GetCsrPem())
		})
}

func newCAInstall(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.InstallIntermediateRequest{}, &cobra.Command{
		Use: "install FILE", Short: "Make an intermediate the successor of what signs",
		Long: `Make an intermediate that was requested the successor of what signs. FILE has its
certificate and that of its root, in PEM; a root that is believed already can be
left out. It is the first of the three steps of "ca rotate": nobody is refused,
and "ca rotate --back" goes back.

Update the agents first: those of a version without intermediates take no
certificate that one signed, and lag.`,
		Example: `  understudy ca intermediate install chain.pem --dry-run
  understudy ca intermediate install chain.pem`,
	}, "chain_pem")
	v.cmd.ValidArgsFunction = aFile
	v.flag("validate_only", "dry-run", "check the intermediate; install nothing")
	return v.does(func(ctx context.Context, a *api) error {
		chain, err := os.ReadFile(string(v.req.GetChainPem()))
		if err != nil {
			return fmt.Errorf("cannot read the intermediate: %w", err)
		}
		v.req.ChainPem = chain
		answer, err := a.InstallIntermediate(ctx, v.req)
		if err != nil {
			return err
		}
		return c.print(answer, func(show.Style) string {
			return steppedText(answer.GetStatus(), v.req.GetValidateOnly())
		})
	})
}
