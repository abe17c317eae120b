package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/internal/lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/deploy/systemd"
)

const ec2Long = `Serve EC2's API in front of the lab, for "understudy serve --provider ec2
--ec2-endpoint URL": its calls make real hosts, volumes and snapshots of the lab.
It speaks the query protocol of the AWS SDK, and keeps EC2's behaviour: what was
made does not show at once, an attached device appears late, snapshots of a volume
are limited, and on request calls are throttled or their answers get lost.

When it serves it prints one line of JSON: the URL, the region, the access key of
the control plane and that of an administrator, whom --policy and --deny do not
bind (any secret will do), its subnets for --ec2-subnets, and the address in the
lab's network that a control plane on this box must listen on to be reached by the
hosts; and for what it signs about machines its account and a file with its
certificate, for --attest-accounts and --attest-certificates. The hosts' agents
find its metadata service on that address.

Faults can also be put on demand, by a PUT of a list to /lab/faults; a GET says
how often each has struck. Each fault has an action (none: every call), times
(none: all calls until others are put), and one of: refuse with a code and a
message, lose_request, lose_answer, slow (for how many seconds a volume is
creating, a snapshot pending, an attached device not on the host), fails (why what
is begun ends in error).`

type ec2Options struct {
	listen, agent string
	policy        string
	lags          map[string]string
	seed          uint64
	behaviour     ec2lab.Behaviour
	odds          ec2lab.Odds
}

func newEC2(lab *string) *cobra.Command {
	o := ec2Options{behaviour: ec2lab.AsAmazon()}
	cmd := &cobra.Command{
		Use: "ec2", Short: "Serve EC2's API in front of the lab", Long: ec2Long, Args: cobra.NoArgs,
		Example: "  understudy-lab --lab cloud ec2 --listen 127.0.0.1:7450\n  understudy-lab ec2 " +
			"--throttle 5 --lose-answer 5 --consistency 1s\n" +
			"  curl -X PUT http://127.0.0.1:7450/lab/faults -d '[{\"action\": \"AttachVolume\", " +
			"\"times\": 1, \"lose_answer\": true}]'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveEC2(cmd.Context(), *lab, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0",
		"`HOST:PORT` to serve on; keep it on this box")
	flags.StringVar(&o.agent, "agent-binary", besideThis("understudy-agent"),
		"`FILE` that is put into hosts as the agent")
	flags.DurationVar(&o.behaviour.Consistency, "consistency", 300*time.Millisecond,
		"how long what was made does not show")
	flags.StringToStringVar(&o.lags, "lag", nil, "`ACTION=TIME` of a call that has a time of its "+
		"own to show what was made, several with commas")
	flags.StringVar(&o.behaviour.Keys.Account, "default-key", "",
		"`ARN` of a customer managed key that the account encrypts all volumes with by default")
	flags.DurationVar(&o.behaviour.Access.TagsLate, "tags-late", 0,
		"how long conditions of the policy do not know the tags of something new")
	flags.DurationVar(&o.behaviour.DeviceDelay, "device-delay", 500*time.Millisecond,
		"how long after a volume is attached its device appears")
	flags.DurationVar(&o.behaviour.ModifyTime, "modify-time", time.Second,
		"how long a volume that grows is modifying")
	flags.DurationVar(&o.behaviour.OptimizeTime, "optimize-time", 0,
		"how long after its change began a volume takes no other")
	flags.IntVar(&o.behaviour.PageSize, "page-size", 5, "most entries of a page")
	flags.StringSliceVar(&o.behaviour.Denied, "deny", nil,
		"`ACTION` that the credentials do not allow, several with commas")
	flags.StringVar(&o.policy, "policy", "", "`FILE` with the IAM policy of the credentials, as "+
		"\"understudy provider policy\" prints it; without one they may do everything")
	flags.IntVar(&o.odds.Throttle, "throttle", 0, "how many of 100 calls are refused as too many")
	flags.IntVar(&o.odds.LoseRequest, "lose-request", 0,
		"how many of 100 calls get lost before they have an effect")
	flags.IntVar(&o.odds.LoseAnswer, "lose-answer", 0,
		"how many of 100 answers get lost after the effect")
	flags.IntVar(&o.odds.InternalError, "internal-error", 0,
		"how many of 100 calls end with an internal error")
	flags.Uint64Var(&o.seed, "seed", 1, "faults come in the same order with the same seed")
	return cmd
}

func serveEC2(ctx context.Context, name string, o ec2Options, out, log io.Writer) error {
	p, host, err := openEC2(ctx, name, o)
	if err != nil {
		return err
	}
	o.behaviour.Keys.ByDefault = o.behaviour.Keys.Account != ""
	if o.behaviour.Lags, err = durations(o.lags); err != nil {
		return err
	}
	if o.policy != "" {
		policy, err := os.ReadFile(o.policy)
		if err != nil {
			return err
		}
		o.behaviour.Access.Policy = string(policy)
	}
	if o.odds != (ec2lab.Odds{}) {
		o.behaviour.Fault = ec2lab.Random(o.seed, o.odds)
	}
	server, err := ec2lab.New(ec2lab.Config{Lab: p, StateFile: filepath.Join(nspawn.DefaultLabsDir,
		name, "ec2.json"), Behaviour: o.behaviour,
		Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		return err
	}
	signs, err := serveMetadata(ctx, server, name, host)
	if err != nil {
		return err
	}
	return listenEC2(ctx, o.listen, server, map[string]string{"host_address": host,
		"account": ec2lab.Account, "certificates": signs}, out)
}

// metadataPort is that of the metadata service, on the address of this box in the lab's network.
const metadataPort = "7452"

// openEC2 opens the lab, whose agents find the metadata service on its host.
func openEC2(ctx context.Context, name string, o ec2Options) (p *nspawn.Provider, host string,
	err error) {
	config := nspawn.Config{Name: name, Zones: ec2lab.Zones(),
		DevicePattern: ec2lab.DevicePattern, AgentBinary: o.agent, Files: lab.AgentFiles(),
		EnableUnits: []string{systemd.AgentUnit}, Delays: nspawn.Delays{Snapshot: time.Second}}
	if p, err = nspawn.New(config); err != nil {
		return nil, "", err
	}
	if host, err = p.HostAddress(ctx); err != nil {
		return nil, "", err
	}
	for path, file := range config.Files {
		file.Content = bytes.ReplaceAll(file.Content,
			[]byte("ec2_metadata: http://169.254.169.254"),
			[]byte("ec2_metadata: http://"+net.JoinHostPort(host, metadataPort)))
		config.Files[path] = file
	}
	p, err = nspawn.New(config)
	return p, host, err
}

// serveMetadata serves the instances' metadata service until ctx ends, and answers with the file of
// the certificate that it signs with.
func serveMetadata(ctx context.Context, server *ec2lab.Server, name, host string) (string, error) {
	certificate, err := server.Certificate()
	if err != nil {
		return "", err
	}
	file := filepath.Join(nspawn.DefaultLabsDir, name, "ec2.pem")
	if err := os.WriteFile(file, certificate, 0o644); err != nil {
		return "", err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, metadataPort))
	if err != nil {
		return "", err
	}
	metadata := &http.Server{Handler: server.MetadataService(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = metadata.Close() })
	go func() { _ = metadata.Serve(listener) }() // it ends with the program
	return file, nil
}

func durations(texts map[string]string) (map[string]time.Duration, error) {
	parsed := map[string]time.Duration{}
	for name, text := range texts {
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		parsed[name] = d
	}
	return parsed, nil
}

// subnets are the lab's, as --ec2-subnets takes them.
func subnets() string {
	var pairs []string
	for zone, subnet := range ec2lab.Subnets() {
		pairs = append(pairs, zone+"="+subnet)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

func listenEC2(ctx context.Context, address string, handler http.Handler,
	says map[string]string, out io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		_ = server.Close() // callers try again elsewhere
	})
	defer stop()
	maps.Copy(says, map[string]string{"url": "http://" + listener.Addr().String(),
		"region": ec2lab.Region, "access_key": ec2lab.AccessKey, "admin_key": ec2lab.AdminKey,
		"subnets": subnets()})
	ready, err := json.Marshal(says)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, string(ready))
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// besideThis is a program in the folder of this one, if it is there.
func besideThis(program string) string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	path := filepath.Join(filepath.Dir(self), program)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
