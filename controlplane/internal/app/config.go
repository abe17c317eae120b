package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/proto/settings"
)

// EnvPrefix begins the name of every variable that is read: UNDERSTUDY_STATE_DIR is `state_dir`;
// lists are separated by commas.
const EnvPrefix = "UNDERSTUDY_"

// DefaultFile is the configuration file that is read when none is named; it need not be there.
const DefaultFile = "/etc/understudy/understudy.yaml"

// Config is the control plane's configuration. Flags win over the environment, that over the file,
// that over the defaults.
type Config struct {
	// Version is the program's.
	Version string `koanf:"-"`
	// StateDir holds the store, the CA, the control plane's identity and the operator's
	// credentials.
	StateDir string `koanf:"state_dir"`
	// Listen are the addresses to serve on, host:port. The provider's own network is added to them,
	// with the port of the first.
	Listen []string `koanf:"listen"`
	// Advertise are the addresses, host:port, under which new machines reach the control plane;
	// found out when empty.
	Advertise []string `koanf:"advertise"`
	// StoreDSNFile names a file with the address of a MariaDB that keeps the records, as
	// user:password@tcp(host:port)/database. Empty keeps them in StateDir.
	StoreDSNFile string `koanf:"store_dsn_file"`
	// Provider makes machines, volumes and snapshots: "ec2" or "manual"; with Dev also
	// LabProvider, which is the default then.
	Provider string `koanf:"provider"`
	// Dev is for development and tests: the lab on this machine as the provider, and failpoints.
	Dev bool `koanf:"dev"`
	// Lab is the name of the lab of Dev.
	Lab string `koanf:"lab"`
	// ImageCacheDir holds the images of Dev.
	ImageCacheDir string `koanf:"image_cache_dir"`
	// EC2Region is the region of the ec2 provider; empty: what the SDK finds.
	EC2Region string `koanf:"ec2_region"`
	// EC2Endpoint replaces EC2's own address; for the lab.
	EC2Endpoint string `koanf:"ec2_endpoint"`
	// EC2Zones are the availability zones to use; empty: all of the region.
	EC2Zones []string `koanf:"ec2_zones"`
	// EC2Subnets are the machines' subnets, zone=subnet.
	EC2Subnets []string `koanf:"ec2_subnets"`
	// EC2DefaultVPC lets machines be made in the default VPC, with a public address each.
	EC2DefaultVPC bool `koanf:"ec2_default_vpc"`
	// EC2CPUCredits is standard or unlimited, for types of machines that earn CPU credits.
	EC2CPUCredits string `koanf:"ec2_cpu_credits"`
	// EC2SecurityGroups are the IDs of the machines' security groups.
	EC2SecurityGroups []string `koanf:"ec2_security_groups"`
	// EC2InstanceType is what machines are.
	EC2InstanceType string `koanf:"ec2_instance_type"`
	// EC2SealMetadata turns machines' metadata service off once their agent has enrolled.
	EC2SealMetadata bool `koanf:"ec2_seal_metadata"`
	// EC2InstanceProfile is the machines' IAM instance profile.
	EC2InstanceProfile string `koanf:"ec2_instance_profile"`
	// EC2VolumeType is what volumes are.
	EC2VolumeType string `koanf:"ec2_volume_type"`
	// EC2VolumeIOPS and EC2VolumeThroughput (MiB/s) are provisioned where the type takes them; 0:
	// its default.
	EC2VolumeIOPS       int32 `koanf:"ec2_volume_iops"`
	EC2VolumeThroughput int32 `koanf:"ec2_volume_throughput"`
	// EC2Encrypt encrypts volumes, with EC2KMSKey or the account's default key.
	EC2Encrypt bool   `koanf:"ec2_encrypt"`
	EC2KMSKey  string `koanf:"ec2_kms_key"`
	// EC2InitializationRate is how fast volumes are filled from their snapshot, in MiB/s; 0: as
	// they are read.
	EC2InitializationRate int32 `koanf:"ec2_initialization_rate"`
	// EC2Consistency is how long EC2 may not show what it has made.
	EC2Consistency time.Duration `koanf:"ec2_consistency"`
	// Attest lets machines join without a token that their provider signs for: "ec2", with the
	// provider ec2; empty: none.
	Attest string `koanf:"attest"`
	// AttestAccounts are the accounts whose machines may.
	AttestAccounts []string `koanf:"attest_accounts"`
	// AttestCertificates is a file with the certificates whose signatures are believed, as PEM.
	AttestCertificates string `koanf:"attest_certificates"`
	// AttestNAT are addresses, and ranges of them, from which machines come that are behind a NAT.
	AttestNAT []string `koanf:"attest_nat"`
	// ManualImages are what operators make the manual provider's machines from, name=version of
	// MariaDB.
	ManualImages []string `koanf:"manual_images"`
	// Image is what machines are made from when none is named.
	Image string `koanf:"image"`
	// AgentBinary is installed on every host of Dev's lab; empty takes the one beside this
	// program.
	AgentBinary string `koanf:"agent_binary"`
	// Fleet marks what this control plane makes at the provider.
	Fleet string `koanf:"fleet"`
	// Metrics is the address that Prometheus metrics are served on, host:port; "off" for none.
	Metrics string `koanf:"metrics"`
	// LogLevel is "debug", "info", "warn" or "error".
	LogLevel string `koanf:"log_level"`
	// LogFormat is "text" or "json".
	LogFormat string `koanf:"log_format"`
	// BeatInterval is the longest time between two observations that an agent sends.
	BeatInterval time.Duration `koanf:"beat_interval"`
	// UnreachableAfter is how long an agent may be silent before its server counts as UNREACHABLE.
	UnreachableAfter time.Duration `koanf:"unreachable_after"`
	// DegradedAfter is how long a server may not do what its role says before it counts as
	// DEGRADED.
	DegradedAfter time.Duration `koanf:"degraded_after"`
	// VerifyShare is the share of each primary's time that continuous verification reads in, in
	// percent; 0 verifies nothing.
	VerifyShare float64 `koanf:"verify_share"`
	// VerifyMaxThreads is how many statements may run in a MariaDB that it reads; 0 does not look.
	VerifyMaxThreads int `koanf:"verify_max_threads"`
	// VerifyInterval is the least time between the begins of two rounds over a replica.
	VerifyInterval time.Duration `koanf:"verify_interval"`
	// VolumeLimit is how long the provider may take to make a volume before the job gives up on it.
	VolumeLimit time.Duration `koanf:"volume_limit"`
	// CAKey is where the key of a root is that is made, of the first one or a successor: state_dir,
	// file or signer.
	CAKey ca.KeyPlace `koanf:"ca_key"`
	// CAKeyFiles are files with private keys of roots, outside of StateDir.
	CAKeyFiles []string `koanf:"ca_key_files"`
	// CASigner is a program, with arguments, that signs with keys of roots; empty: none.
	CASigner []string `koanf:"ca_signer"`
	// CASignerLimit ends a run of it.
	CASignerLimit time.Duration `koanf:"ca_signer_limit"`
	// ReplaceLostRoot makes another root in place of one that has ended, or whose key is gone:
	// every host has to join again. A flag alone sets it, for one start.
	ReplaceLostRoot bool `koanf:"replace_lost_root"`
	// ReplaceLostIntermediate is a file with an intermediate of the same root, in place of one that
	// has ended or whose key is gone. It is a flag alone, for one start.
	ReplaceLostIntermediate string `koanf:"replace_lost_intermediate"`
	// AgentCertificateLife is how long an agent's certificate is valid, AgentCertificateGrace how
	// long after its end it can still be renewed with its key.
	AgentCertificateLife  time.Duration `koanf:"agent_certificate_life"`
	AgentCertificateGrace time.Duration `koanf:"agent_certificate_grace"`
	// MariaDBCertificateLife is how long a certificate of MariaDB is valid.
	MariaDBCertificateLife time.Duration `koanf:"mariadb_certificate_life"`
	// OperatorCertificateLife and OperatorCertificateGrace are those of operators.
	OperatorCertificateLife  time.Duration `koanf:"operator_certificate_life"`
	OperatorCertificateGrace time.Duration `koanf:"operator_certificate_grace"`
	// OIDCIssuer is the address of the identity provider with whose accounts operators log in;
	// empty: nobody logs in.
	OIDCIssuer string `koanf:"oidc_issuer"`
	// OIDCClientID is whom its ID tokens are for.
	OIDCClientID string `koanf:"oidc_client_id"`
	// OIDCClientSecretFile has the secret of a client that has one, OIDCClientAuth says how it is
	// shown: basic or post.
	OIDCClientSecretFile string           `koanf:"oidc_client_secret_file"`
	OIDCClientAuth       login.ClientAuth `koanf:"oidc_client_auth"`
	// OIDCGroupsFile says what the groups of the provider may do.
	OIDCGroupsFile string `koanf:"oidc_groups_file"`
	// OIDCGroupsClaim is the claim with the groups, OIDCNameClaim that with the name that is shown.
	OIDCGroupsClaim string `koanf:"oidc_groups_claim"`
	OIDCNameClaim   string `koanf:"oidc_name_claim"`
	// OIDCScopes are what the command line asks the provider for.
	OIDCScopes []string `koanf:"oidc_scopes"`
	// OIDCSession is how long a login lasts; as long as its ID token when 0.
	OIDCSession time.Duration `koanf:"oidc_session"`
	// RetainJobs is how long jobs that have ended, and records of what was deleted, are kept; 0:
	// for ever.
	RetainJobs time.Duration `koanf:"retain_jobs"`
	// RetainEvents is how long events are kept, at least as long as jobs; 0: for ever.
	RetainEvents time.Duration `koanf:"retain_events"`
	// RetainIdentities is how long certificates and join tokens are kept after they expired, but
	// certificates that were revoked; 0: for ever.
	RetainIdentities time.Duration `koanf:"retain_identities"`
	// RetainAudit is how long the records of calls that changed something are kept; 0: for ever.
	RetainAudit time.Duration `koanf:"retain_audit"`
}

func defaults() map[string]any {
	return map[string]any{
		"state_dir":       "/var/lib/understudy",
		"listen":          []string{"127.0.0.1:7440"},
		"advertise":       []string{},
		"store_dsn_file":  "",
		"provider":        "",
		"dev":             false,
		"lab":             "default",
		"image_cache_dir": "/var/cache/understudy/images",
		"ec2_region":      "", "ec2_endpoint": "", "ec2_zones": []string{},
		"ec2_default_vpc": false, "ec2_seal_metadata": false, "ec2_cpu_credits": "standard",
		"ec2_subnets": []string{}, "ec2_security_groups": []string{},
		"ec2_instance_type": "", "ec2_instance_profile": "", "ec2_volume_type": "",
		"ec2_volume_iops": 0, "ec2_volume_throughput": 0,
		"ec2_encrypt": false, "ec2_kms_key": "", "ec2_initialization_rate": 0,
		"ec2_consistency": "90s",
		"attest":          "", "attest_accounts": []string{}, "attest_certificates": "",
		"attest_nat":         []string{},
		"manual_images":      []string{"trixie=11.8", "bookworm=10.11"},
		"image":              "trixie",
		"agent_binary":       "",
		"fleet":              "default",
		"metrics":            "127.0.0.1:7441",
		"log_level":          "info",
		"log_format":         "text",
		"beat_interval":      "1s",
		"unreachable_after":  "4s",
		"degraded_after":     "3s",
		"verify_share":       5.0,
		"verify_max_threads": 16,
		"verify_interval":    "1h",
		"volume_limit":       "10m",
		"ca_key":             string(ca.KeyInStateDir),
		"ca_key_files":       []string{},
		"ca_signer":          []string{}, "ca_signer_limit": "10s",
		"agent_certificate_life": "24h", "agent_certificate_grace": "720h",
		"mariadb_certificate_life":  "720h",
		"operator_certificate_life": "8h", "operator_certificate_grace": "72h",
		"oidc_issuer": "", "oidc_client_id": "", "oidc_groups_file": "",
		"oidc_client_secret_file": "", "oidc_client_auth": string(login.AuthBasic),
		"oidc_groups_claim": "groups", "oidc_name_claim": "email",
		"oidc_scopes":       []string{"openid", "email", "profile", "groups"},
		"oidc_session":      "0s",
		"retain_jobs":       "2160h",
		"retain_events":     "8760h",
		"retain_identities": "2160h",
		"retain_audit":      "17520h",
	}
}

// minRetention is longer than any request is repeated.
const minRetention = 24 * time.Hour

// Sources is where a configuration comes from.
type Sources = settings.Sources

// loadUnchecked reads the configuration, for what needs to know where the state is and no more.
func loadUnchecked(sources Sources) (config Config, err error) {
	schema := settings.Schema{Defaults: defaults(), FlagsAlone: []string{"replace_lost_root",
		"replace_lost_intermediate"},
		EnvPrefix: EnvPrefix, Foreign: foreign}
	return config, schema.Load(sources, &config)
}

// Load reads the configuration from all its sources.
func Load(sources Sources) (Config, error) {
	config, err := loadUnchecked(sources)
	if err != nil {
		return Config{}, err
	}
	if config.Dev && config.Provider == "" {
		config.Provider = LabProvider
	}
	if err := config.check(); err != nil {
		return Config{}, fmt.Errorf("cannot use the configuration: %w", err)
	}
	return config, nil
}

// LabProvider is the provider of Config.Dev.
const LabProvider = "nspawn"

// foreign are variables of the command line and of agents, where the file is, and failpoints.
func foreign(rest string) bool {
	return slices.Contains([]string{"ADDRESS", "CREDENTIALS", "CONFIG", "FAILPOINT"}, rest) ||
		strings.HasPrefix(rest, "AGENT_") && rest != "AGENT_BINARY"
}

func (c Config) check() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(!filepath.IsAbs(c.StateDir), "state_dir: %q is not an absolute path", c.StateDir)
	fault(c.AgentBinary != "" && !filepath.IsAbs(c.AgentBinary),
		"agent_binary: %q is not an absolute path", c.AgentBinary)
	fault(len(c.Listen) == 0, "listen: an address is needed, for example 127.0.0.1:7440")
	for key, list := range map[string][]string{"listen": c.Listen, "advertise": c.Advertise} {
		for _, address := range list {
			host, port, err := net.SplitHostPort(address)
			fault(err != nil || port == "", "%s: %q is not host:port", key, address)
			fault(key == "advertise" && err == nil && host == "", "advertise: %q names no host",
				address)
		}
	}
	fault(c.Provider == "", "one of --provider or --dev is required")
	fault(c.Provider == LabProvider && !c.Dev, "provider: %s is the lab of --dev", LabProvider)
	fault(!slices.Contains([]string{"", LabProvider, "ec2", "manual"}, c.Provider),
		"provider: %q must be one of ec2, manual", c.Provider)
	fault(c.Provider == "manual" && c.StoreDSNFile != "", "store_dsn_file: the provider manual "+
		"keeps its records in state_dir, where no other control plane on that store sees them")
	_, err := c.subnets()
	fault(err != nil, "ec2_subnets: %v", err)
	_, err = c.manualImages()
	fault(err != nil, "manual_images: %v", err)
	if c.Metrics != "off" {
		_, _, err := net.SplitHostPort(c.Metrics)
		fault(err != nil, "metrics: %q is neither host:port nor off", c.Metrics)
	}
	fault(c.LogFormat != "text" && c.LogFormat != "json", "log_format: %q is neither text nor json",
		c.LogFormat)
	_, err = c.level()
	fault(err != nil, "log_level: %q is none of debug, info, warn, error", c.LogLevel)
	fault(c.BeatInterval < 100*time.Millisecond || c.BeatInterval > time.Minute,
		"beat_interval: %s is not between 100ms and 1m", c.BeatInterval)
	fault(c.UnreachableAfter < 2*c.BeatInterval,
		"unreachable_after: %s is less than two times beat_interval", c.UnreachableAfter)
	fault(c.VolumeLimit < time.Second, "volume_limit: %s is less than 1s", c.VolumeLimit)
	fault(c.EC2Consistency < time.Second, "ec2_consistency: %s is less than 1s", c.EC2Consistency)
	fault(c.VerifyShare < 0 || c.VerifyShare > 50, "verify_share: %v is not from 0 to 50",
		c.VerifyShare)
	fault(c.VerifyMaxThreads < 0, "verify_max_threads: %d is negative", c.VerifyMaxThreads)
	fault(c.VerifyInterval < time.Second, "verify_interval: %s is less than 1s", c.VerifyInterval)
	fault(c.DegradedAfter < 0, "degraded_after: %s is negative", c.DegradedAfter)
	c.checkCertificates(fault)
	c.checkAuthority(fault)
	c.checkLogins(fault)
	c.checkAttest(fault)
	for key, kept := range map[string]time.Duration{"retain_jobs": c.RetainJobs,
		"retain_events": c.RetainEvents, "retain_identities": c.RetainIdentities,
		"retain_audit": c.RetainAudit} {
		fault(kept != 0 && kept < minRetention, "%s: %s is less than %s, and not 0 for ever", key,
			kept, minRetention)
	}
	fault(c.RetainEvents != 0 && (c.RetainJobs == 0 || c.RetainEvents < c.RetainJobs),
		"retain_events: %s is less than retain_jobs", c.RetainEvents)
	return errors.Join(faults...)
}

// checkCertificates holds lives to what clocks, renewals and findings need, and to what a
// revocation is for. A grace is at least a minute, since without one a short absence costs every
// agent its identity.
func (c Config) checkCertificates(fault func(bad bool, format string, args ...any)) {
	const hour, day = time.Hour, 24 * time.Hour
	for key, b := range map[string]struct{ value, least, most time.Duration }{
		"agent_certificate_life":     {c.AgentCertificateLife, hour, 30 * day},
		"agent_certificate_grace":    {c.AgentCertificateGrace, time.Minute, 90 * day},
		"mariadb_certificate_life":   {c.MariaDBCertificateLife, 7 * day, 365 * day},
		"operator_certificate_life":  {c.OperatorCertificateLife, hour, 30 * day},
		"operator_certificate_grace": {c.OperatorCertificateGrace, time.Minute, 30 * day},
	} {
		fault(b.value < b.least || b.value > b.most, "%s: %s is not between %s and %s", key,
			b.value, b.least, b.most)
	}
}

func (c Config) level() (level slog.Level, err error) {
	err = level.UnmarshalText([]byte(c.LogLevel))
	return level, err
}

// path is a place in the state directory.
func (c Config) path(parts ...string) string {
	return filepath.Join(append([]string{c.StateDir}, parts...)...)
}
