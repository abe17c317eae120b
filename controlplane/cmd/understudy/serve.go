package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/proto/telemetry"
)

const serveLong = `Run the control plane. It keeps the records of servers and snapshots, runs the
jobs, and serves the API that all other commands use.

Name the provider that makes machines, volumes and snapshots with --provider. To
try it out, --dev makes hosts on this machine instead (it needs root); do not
keep data there. The first start makes what is missing: the state directory, the
store, a certificate authority, and an admin's credentials. Ctrl-C or SIGTERM
stops it; jobs go on with its next start.

Settings come from flags, then the environment, then a file, then defaults. The
flag --state-dir is UNDERSTUDY_STATE_DIR in the environment and state_dir in the
file; --replace-lost-root and --replace-lost-intermediate alone are flags and
nothing else. Lists have commas in the environment and are lists in the file. A
setting that is not known is an error.

What it serves
  the API       on --listen, and on the provider's network under the same port;
                every connection is mutual TLS, and only a machine with a join
                token may call without a certificate, to enrol
  metrics       for Prometheus, on --metrics under /metrics, with /healthz and /readyz

What is in the state directory
  understudy.db the records (SQLite), unless --store-dsn-file names a MariaDB
  ca/           the certificate authority: back it up with the records
  controlplane/ the control plane's own identity
  operator/     an admin's credentials, which the other commands use on this host
  break-glass.sock
                where root says who the operators are ("understudy --local operator")
                when no admin is left; each call is a warning in the log`

const serveExample = `  understudy serve --dev
  understudy serve --provider ec2 --listen 0.0.0.0:7440 --advertise 192.0.2.10:7440
  understudy serve --provider manual --state-dir /srv/understudy
  understudy serve --config ./understudy.yaml`

// serveFlags are the settings that can be given as flags, with their help; the key in the file has
// underscores.
func serveFlags(flags *pflag.FlagSet) {
	flags.String("config", "", "`FILE` with settings (YAML; UNDERSTUDY_CONFIG); "+app.DefaultFile+
		" is read when it exists")
	flags.String("state-dir", "", "state `DIR` (default /var/lib/understudy)")
	flags.StringSlice("listen", nil,
		"`HOST:PORT` to serve on, several with commas (default 127.0.0.1:7440)")
	flags.StringSlice("advertise", nil,
		"`HOST:PORT` under which new machines reach it (default found out)")
	flags.String("store-dsn-file", "", "`FILE` with the address of a MariaDB that keeps the "+
		"records, user:password@tcp(host:port)/database")
	flags.String("provider", "",
		"what makes machines, volumes and snapshots: ec2, or manual: tasks for operators")
	flags.Bool("dev", false, "development mode: hosts on this machine (needs root), unless "+
		"--provider is given, and failpoints")
	flags.String("lab", "", "`NAME` of the lab of --dev; labs with different names share nothing "+
		"(default \"default\")")
	flags.String("image-cache-dir", "",
		"`DIR` of the images of --dev (default /var/cache/understudy/images)")
	flags.String("ec2-region", "",
		"`REGION` of the provider ec2 (default what the AWS SDK finds)")
	flags.String("ec2-endpoint", "",
		"`URL` in place of EC2's own, such as that of understudy-lab ec2")
	flags.StringSlice("ec2-zones", nil, "`ZONE` that the provider ec2 may use, several with "+
		"commas (default all of the region)")
	flags.StringSlice("ec2-subnets", nil, "`ZONE=SUBNET` of machines in a zone, several with "+
		"commas; no other zone is used")
	flags.Bool("ec2-default-vpc", false,
		"make machines in the default VPC, where each gets a public address")
	flags.StringSlice("ec2-security-groups", nil,
		"`ID` of the machines' security groups, several with commas")
	flags.String("ec2-instance-type", "", "`TYPE` of machines (default t3.large)")
	flags.String("ec2-cpu-credits", "", "standard or unlimited, for types that earn CPU credits; "+
		"unlimited costs extra (default standard)")
	flags.String("ec2-instance-profile", "",
		"`NAME` of the machines' IAM instance profile")
	flags.Bool("ec2-seal-metadata", false, "turn the metadata service of a machine off once its "+
		"agent has enrolled; no AMI may be made of it then")
	flags.String("ec2-volume-type", "", "`TYPE` of volumes (default gp3)")
	flags.Int32("ec2-volume-iops", 0, "IOPS of volumes, where the type takes them")
	flags.Int32("ec2-volume-throughput", 0, "MiB/s of volumes, where the type takes them")
	flags.Bool("ec2-encrypt", false, "encrypt volumes")
	flags.String("ec2-kms-key", "",
		"`KEY` that volumes are encrypted with (default the account's)")
	flags.Int32("ec2-initialization-rate", 0, "MiB/s that volumes are filled from their snapshot "+
		"with, 100 to 300; it has a price (default as they are read)")
	flags.Duration("ec2-consistency", 0, "how long EC2 may not show what it has made: what is "+
		"not found by then is gone (default 1m30s)")
	flags.String("attest", "", "what lets machines join without a token: ec2, by what EC2 signs "+
		"about them; needs the provider ec2 and the next two (default nothing)")
	flags.StringSlice("attest-accounts", nil,
		"`ID` of the accounts whose machines may, several with commas")
	flags.String("attest-certificates", "", "`FILE` with Amazon's RSA-2048 certificate of the "+
		"region, which signs for machines")
	flags.StringSlice("attest-nat", nil, "`ADDRESS` or range of a NAT that machines are behind, "+
		"several with commas: what comes from there need not come from the machine's own")
	flags.StringSlice("manual-images", nil, "`NAME=MARIADB` that operators make machines from, "+
		"several with commas (default trixie=11.8,bookworm=10.11)")
	flags.String("image", "", "`IMAGE` of machines when a request names none (default trixie)")
	flags.String("agent-binary", "", "`FILE` that is installed on hosts of --dev as the agent "+
		"(default the one beside this program)")
	flags.String("fleet", "",
		"`NAME` that marks what it makes at the provider (default \"default\")")
	flags.String("metrics", "", "`HOST:PORT` to serve metrics on, or off (default 127.0.0.1:7441)")
	flags.String("log-level", "", "debug, info, warn or error (default info)")
	flags.String("log-format", "", "text or json (default text)")
	flags.Duration("beat-interval", 0,
		"longest time between two observations that an agent sends (default 1s)")
	flags.Duration("unreachable-after", 0,
		"how long an agent may be silent until its server is UNREACHABLE (default 4s)")
	flags.Float64("verify-share", 0, "share of each primary's time in which continuous "+
		"verification reads, in percent; 0 verifies nothing (default 5)")
	flags.Int("verify-max-threads", 0, "statements that may run in a MariaDB for it to be read; "+
		"0 does not look (default 16)")
	flags.Duration("verify-interval", 0,
		"least time between the begins of two rounds over a replica (default 1h)")
	flags.Duration("volume-limit", 0,
		"longest time that the provider may take to make a volume (default 10m)")
	flags.String("ca-key", "", "where the key of a root of the certificate authority is that is "+
		"made: state_dir, file or signer (default state_dir)")
	flags.StringSlice("ca-key-files", nil, "`FILE` with a private key of a root, such as a "+
		"credential of systemd; several with commas")
	flags.StringSlice("ca-signer", nil, "`PROGRAM` that signs with keys of roots, and its "+
		"arguments, with commas (default none)")
	flags.Duration("ca-signer-limit", 0, "longest time of a signature of it (default 10s)")
	flags.Bool("replace-lost-root", false, "make another root of the certificate authority in "+
		"place of one that has ended or is lost; every host has to join again")
	flags.String("replace-lost-intermediate", "", "`FILE` with an intermediate and its root, in "+
		"place of an intermediate of that root that has ended or is lost (default none)")
	flags.Duration("agent-certificate-life", 0, "how long an agent's certificate is valid; it is "+
		"renewed at half of that (default 24h)")
	flags.Duration("agent-certificate-grace", 0, "how long after its end an agent renews it with "+
		"its key, without a new join token (default 720h)")
	flags.Duration("mariadb-certificate-life", 0,
		"how long a certificate of MariaDB is valid (default 720h)")
	flags.Duration("operator-certificate-life", 0, "how long an operator's certificate is valid; "+
		"commands renew it from half of that on (default 8h)")
	flags.Duration("operator-certificate-grace", 0,
		"how long after its end a command still renews it (default 72h)")
	flags.String("oidc-issuer", "", "`URL` of the identity provider with whose accounts operators "+
		"log in (default none)")
	flags.String("oidc-client-id", "", "`ID` of the client there that ID tokens are for")
	flags.String("oidc-client-secret-file", "", "`FILE` with the secret of that client, where it "+
		"has one; root's or the control plane's own")
	flags.String("oidc-client-auth", "", "how it is shown: `basic` or post (default basic)")
	flags.String("oidc-groups-file", "",
		"`FILE` (YAML) that says what its groups may do; read for each login")
	flags.String("oidc-groups-claim", "", "`CLAIM` with the groups (default groups)")
	flags.String("oidc-name-claim", "", "`CLAIM` with the name that is shown (default email)")
	flags.StringSlice("oidc-scopes", nil, "`SCOPE` that the command line asks for, several with "+
		"commas (default openid,email,profile,groups)")
	flags.Duration("oidc-session", 0, "how long a login lasts, whatever its ID token says; at "+
		"most --operator-certificate-life (default as long as the ID token)")
	flags.Duration("retain-jobs", 0, "how long ended jobs, and records of what was deleted, are "+
		"kept; 0s is for ever (default 2160h)")
	flags.Duration("retain-events", 0,
		"how long events are kept; 0s is for ever (default 8760h)")
	flags.Duration("retain-identities", 0, "how long certificates and join tokens are kept after "+
		"they expired; 0s is for ever (default 2160h)")
	flags.Duration("degraded-after", 0,
		"how long a server may fail its role until it is DEGRADED; 0s is at once, with what comes "+
			"and goes damped as at 1s (default 3s)")
}

// newServeCommand runs the control plane.
func newServeCommand(world World) *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the control plane", Long: serveLong, Example: serveExample,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := app.Load(serveSources(cmd.Flags(), world.Environ))
			if err != nil {
				return usageError{message: err.Error(),
					hint: "see `understudy serve --help` for what can be set and how"}
			}
			config.Version = world.Version
			log := app.Logger(config, cmd.ErrOrStderr(), world.Environ)
			stop, err := telemetry.StartTraces(cmd.Context(), telemetry.TraceConfig{
				Service: "understudy", Version: world.Version, Environ: world.Environ})
			if err != nil {
				return err
			}
			defer stop()
			dev, err := openDev(config, world, log)
			if err != nil {
				return err
			}
			control, err := app.New(cmd.Context(), config, log, dev)
			if err != nil {
				return fmt.Errorf("the control plane cannot start: %w", err)
			}
			return control.Run(cmd.Context())
		},
	}
	serveFlags(cmd.Flags())
	cmd.AddCommand(newSuperviseCommand(world))
	return cmd
}

// serveSources are the places that settings come from: of the flags, only those that were given.
func serveSources(flags *pflag.FlagSet, environ []string) app.Sources {
	sources := app.Sources{File: app.DefaultFile, Environ: environ, Flags: map[string]any{}}
	if file := (World{Environ: environ}).getenv("UNDERSTUDY_CONFIG"); file != "" {
		sources.File, sources.Required = file, true
	}
	own := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	serveFlags(own)
	flags.Visit(func(f *pflag.Flag) {
		switch list, isList := f.Value.(pflag.SliceValue); {
		case own.Lookup(f.Name) == nil: // of all commands, not of this one
		case f.Name == "config":
			sources.File, sources.Required = f.Value.String(), true
		case isList:
			sources.Flags[key(f.Name)] = list.GetSlice()
		default:
			sources.Flags[key(f.Name)] = f.Value.String()
		}
	})
	return sources
}

// key is a flag's name as the file has it.
func key(flag string) string { return strings.ReplaceAll(flag, "-", "_") }
