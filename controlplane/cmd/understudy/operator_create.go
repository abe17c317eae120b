package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newOperatorCreate(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.CreateOperatorRequest{}, &cobra.Command{
		Use: "create OPERATOR --out FILE", Short: "Create an operator's credentials",
		Long: `Create an operator's credentials, and write them to a file that its owner alone
can read. Take it to the operator's computer and add it there with "context
add". The certificate is valid for 8 hours, or what the control plane says;
commands renew it, in the same role, until 72 hours after its end. Only an admin
creates operators.

Without --role it is the role that the command is named after: enough for the
daily work, and no power over who the operators are. A viewer is for whoever
only looks: dashboards, reports, somebody on call in another team.

With --servers the operator sees and changes only the servers whose names match
one of the patterns, with their snapshots, jobs and events. It is kept for the
name until "operator update" or another --servers changes it.

An operator has one role at a time: revoke it before you create it in another
one. The file is a secret: whoever has it is that operator. Delete it when it is
added. "operator revoke" revokes what was created under a name.`,
		Example: `  understudy operator create alice --out alice.json
  understudy operator create board --role viewer --out board.json
  understudy operator create shop --servers 'shop-*' --out shop.json
  understudy context add prod --credentials alice.json`,
	}, "name")
	v.flag("role", "role", "what the operator may do")
	v.flag("servers", "servers", serversUsage)
	out := v.out()
	return v.does(func(ctx context.Context, a *api) error {
		var answer *cpv1.CreateOperatorResponse
		err := writeSecret(c, *out, func() (secret []byte, err error) {
			secret, answer, err = createOperator(ctx, a, v.req)
			return secret, err
		})
		if err != nil || *out == "-" {
			return err
		}
		return c.print(answer, func(show.Style) string {
			return fmt.Sprintf("%s holds the credentials of %s, in the role %s%s, valid until %s\n",
				*out, show.ID(v.req.GetName()),
				envOr(enum.Word(v.req.GetRole()), string(identity.RoleOperator)),
				only(answer.GetServers()),
				stamp(answer.GetCertificate().GetExpireTime().AsTime()))
		})
	})
}

// only says that the operator works with these servers alone; nothing where it is all.
func only(patterns []string) string {
	if len(patterns) == 0 {
		return ""
	}
	return " for " + serversOf(patterns)
}

// createOperator makes a key, has it certified, and packs both.
func createOperator(ctx context.Context, a *api, req *cpv1.CreateOperatorRequest) ([]byte,
	*cpv1.CreateOperatorResponse, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if req.Csr, err = signingRequest(key); err != nil {
		return nil, nil, err
	}
	answer, err := a.CreateOperator(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	secret, err := json.MarshalIndent(credentials{Operator: show.ID(req.GetName()),
		Addresses: answer.GetAddresses(), CA: string(answer.GetCertificate().GetCaPem()),
		Certificate: string(answer.GetCertificate().GetCertificatePem()),
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}, "", "  ")
	return append(secret, '\n'), answer, err
}
