package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/agent/internal/agent"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const joinLong = `Make this host a server of a fleet: check the host, get its identity with a
one-time token, or by what EC2 signs about the machine (--attest ec2), enable and start the agent's
unit, and wait until the control plane has reached the agent. The control plane prints the line to
paste when it makes a token.

All checks run before anything is changed, and each that fails has a hint. The control plane proves
itself by the CA's pin before the token is sent. On a host that has joined already nothing is
changed.

The token works once, for this server alone, and for 15 minutes unless another time was asked for. A
command line can be seen by other users of the host while it runs: to keep the token out of it, name
a file with --token-file, or give a whole join file with --join-file; - is standard input.`

const joinExample = `  understudy-agent join --server db9 --address 10.0.0.10:7440 \
      --ca-pin sha256:… --token …
  understudy-agent join --server db9 --address 10.0.0.10:7440 \
      --ca-pin sha256:… --token-file -
  understudy-agent join --server db9 --address 10.0.0.10:7440 \
      --ca-pin sha256:… --attest ec2
  understudy-agent join --join-file join.json --dry-run`

// joinFlags are what a host is told to join with.
type joinFlags struct {
	server, pin, token, tokenFile, attest, joinFile, output string
	addresses                                               []string
	dryRun                                                  bool
}

func newJoin() *cobra.Command {
	var f joinFlags
	cmd := &cobra.Command{
		Use: "join", Short: "Make this host a server of a fleet", Args: cobra.NoArgs,
		Long: joinLong, Example: joinExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.output != "" && f.output != "json" {
				return fmt.Errorf("cannot write %q: -o must be json", f.output)
			}
			file, err := f.read(cmd.InOrStdin())
			if err != nil {
				return err
			}
			config, _, err := load(cmd)
			if err != nil {
				return err
			}
			return join(cmd, config, file, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.server, "server", "", "`NAME` of the server that this host is to be")
	flags.StringSliceVar(&f.addresses, "address", nil,
		"`HOST:PORT` of the control plane, several with commas")
	flags.StringVar(&f.pin, "ca-pin", "", "`PIN` of the control plane's CA, sha256:…")
	flags.StringVar(&f.token, "token", "", "one-time join `TOKEN`")
	flags.StringVar(&f.tokenFile, "token-file", "", "`FILE` with the token, - for standard input")
	flags.StringVar(&f.attest, "attest", "",
		"`PROVIDER` that signs for this machine, in place of a token: ec2")
	flags.StringVar(&f.joinFile, "join-file", "",
		"join `FILE` in place of all the above, - for standard input")
	flags.BoolVar(&f.dryRun, "dry-run", false, "check the host; change nothing")
	flags.StringVarP(&f.output, "output", "o", "", "json for programs")
	cmd.MarkFlagsMutuallyExclusive("token", "token-file", "attest", "join-file")
	for _, name := range []string{"server", "address", "ca-pin"} {
		cmd.MarkFlagsMutuallyExclusive(name, "join-file")
	}
	cmd.MarkFlagsOneRequired("token", "token-file", "attest", "join-file")
	return cmd
}

// read is the join file that the flags stand for.
func (f joinFlags) read(stdin io.Reader) (identity.JoinFile, error) {
	if f.joinFile != "" {
		data, err := readSecret(f.joinFile, stdin)
		if err != nil {
			return identity.JoinFile{}, err
		}
		return identity.ParseJoinFile(data)
	}
	for _, flag := range []struct {
		name  string
		empty bool
	}{{"server", f.server == ""}, {"address", len(f.addresses) == 0}, {"ca-pin", f.pin == ""}} {
		if flag.empty {
			return identity.JoinFile{}, fmt.Errorf("--%s is required", flag.name)
		}
	}
	file := identity.JoinFile{Server: f.server, ControlPlane: f.addresses, Token: f.token,
		Attest: f.attest}
	var err error
	if file.CASPKISHA256, err = identity.ParsePin(f.pin); err != nil {
		return file, fmt.Errorf("--ca-pin: %w", err)
	}
	if f.tokenFile != "" {
		data, err := readSecret(f.tokenFile, stdin)
		if err != nil {
			return file, err
		}
		file.Token = strings.TrimSpace(string(data))
	}
	return file, file.CheckTold()
}

func readSecret(path string, stdin io.Reader) ([]byte, error) {
	const most = 64 << 10
	if path == "-" {
		return io.ReadAll(io.LimitReader(stdin, most))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, most))
}

func join(cmd *cobra.Command, config agent.Config, file identity.JoinFile, f joinFlags) error {
	options := agent.JoinOptions{DryRun: f.dryRun}
	if f.output == "" {
		options.Checked = func(all []agent.Finding) { _ = showTable(cmd.OutOrStdout(), all) }
		options.Say = func(line string) { fmt.Fprintln(cmd.OutOrStdout(), line) }
	}
	joined, err := agent.Join(cmd.Context(), config, file, options)
	if f.output == "json" {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(joined); err != nil {
			return err
		}
	}
	if errors.Is(err, agent.ErrMissing) {
		return fmt.Errorf("cannot join as %s: %w; nothing was changed", file.Server, err)
	}
	return withHint(err)
}

// withHint shows an error's hint below it.
func withHint(err error) error {
	if err == nil || errs.HintOf(err).Empty() {
		return err
	}
	return fmt.Errorf("%w\n  hint: %s", err, errs.HintOf(err))
}
