package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const tokenLong = `A join token lets the agent of one new machine get its identity, once. Machines
that a provider makes get theirs by themselves; create a token for a machine
that was set up in another way.`

func (c *cli) newToken() *cobra.Command {
	return c.group("token", "Create join tokens for machines that were set up by hand", tokenLong,
		c.newTokenCreate())
}

func (c *cli) newTokenCreate() *cobra.Command {
	ttl := span{value: 15 * time.Minute, min: time.Minute, max: 24 * time.Hour}
	var out string
	cmd := &cobra.Command{
		Use: "create SERVER --out FILE", Short: "Create a join file with a one-time token",
		Args: words([]string{"SERVER"}),
		Long: `Create a one-time join token for the machine of a server, and write the join
file with it. Only its owner can read the file, and no file is overwritten. Put
it on the machine as /etc/understudy-agent/join.json before the agent's first
start.

The token works once, for that server alone, and expires after --ttl. With --out
- the file goes to standard output: it is a secret, so keep it out of logs and
argument lists.`,
		Example: `  understudy token create db4 --out join.json
  understudy token create db4 --ttl 1h --out - | ssh db4 'install -m 600 /dev/stdin join.json'`,
		ValidArgsFunction: c.complete(c.serverIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := serverName(args[0])
			if err != nil {
				return err
			}
			if out == "" {
				return usageError{message: "--out is required",
					hint: "name the join file to write, or - for standard output"}
			}
			return c.createToken(ctx, &cpv1.CreateJoinTokenRequest{Server: name,
				Ttl: durationpb.New(ttl.value)}, out)
		}),
	}
	cmd.Flags().Var(&ttl, "ttl", "how long the token is valid, 1m to 24h")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write, - for standard output")
	return cmd
}

// createToken opens the file first: a token that cannot be written is not made. A file without a
// token does not stay.
func (c *cli) createToken(ctx context.Context, req *cpv1.CreateJoinTokenRequest, out string) error {
	write, discard, err := c.openSecret(out)
	if err != nil {
		return err
	}
	var answer *cpv1.CreateJoinTokenResponse
	err = c.call(ctx, func(ctx context.Context, a *api) (err error) {
		answer, err = a.enrollment.CreateJoinToken(ctx, req)
		return err
	})
	if err == nil {
		err = write(answer.GetJoinFile())
	}
	if err != nil {
		discard()
		return fmt.Errorf("cannot create a join file: %w", err)
	}
	if out == "-" {
		return nil
	}
	return c.print(&cpv1.CreateJoinTokenResponse{ExpireTime: answer.GetExpireTime()},
		func(show.Style) string {
			return fmt.Sprintf("%s is a join file for %s, valid until %s\n", out,
				show.ID(req.GetServer()), stamp(answer.GetExpireTime()))
		})
}

// openSecret makes a file that its owner alone can read, and says how to write it and how to take
// it away again.
func (c *cli) openSecret(path string) (write func([]byte) error, discard func(), err error) {
	if path == "-" {
		return func(data []byte) error { _, err := c.Stdout.Write(data); return err }, func() {},
			nil
	}
	file, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, nil, usageError{message: path + " exists already",
			hint: "remove it, or name another file"}
	}
	if err != nil {
		return nil, nil, usageError{message: "cannot write the join file: " + err.Error()}
	}
	write = func(data []byte) error {
		_, err := file.Write(data)
		return errors.Join(err, file.Sync(), file.Close())
	}
	return write, func() { _ = file.Close(); _ = os.Remove(file.Name()) }, nil
}
