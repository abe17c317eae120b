package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/app"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "understudy.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAProviderIsAllThatIsNeeded(t *testing.T) {
	t.Parallel()
	cfg, err := app.Load(app.Sources{File: "/no/such/file",
		Flags: map[string]any{"provider": "ec2"}})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.StateDir != "/var/lib/understudy" || cfg.Lab != "default" ||
		!slices.Equal(cfg.Listen, []string{"127.0.0.1:7440"}) ||
		cfg.BeatInterval != time.Second {
		t.Errorf("%+v", cfg)
	}
}

func TestFlagsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	t.Parallel()
	cfg, err := app.Load(app.Sources{
		File: write(t, "lab: file\nfleet: file\nimage: file\nlisten: "+
			"['127.0.0.1:1']\nbeat_interval: 2s\n"),
		Environ: []string{"HOME=/root", "UNDERSTUDY_FLEET=env", "UNDERSTUDY_IMAGE=env",
			"UNDERSTUDY_LISTEN=127.0.0.1:2, [::1]:3", "UNDERSTUDY_ADDRESS=x",
			"UNDERSTUDY_CREDENTIALS=x", "UNDERSTUDY_CONFIG=x", "UNDERSTUDY_AGENT_LISTEN=x",
			"UNDERSTUDY_AGENT_BINARY=/a",
			"UNDERSTUDY_FAILPOINT=x"},
		Flags: map[string]any{"image": "flag", "unreachable_after": "1m", "dev": true,
			"replace_lost_root": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Lab != "file" || cfg.Fleet != "env" || cfg.Image != "flag" || cfg.AgentBinary != "/a" ||
		cfg.Provider != app.LabProvider || !cfg.ReplaceLostRoot {
		t.Errorf("%+v", cfg)
	}
	if !slices.Equal(cfg.Listen, []string{"127.0.0.1:2", "[::1]:3"}) ||
		cfg.BeatInterval != 2*time.Second || cfg.UnreachableAfter != time.Minute {
		t.Errorf("%+v", cfg)
	}
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		sources app.Sources
		said    string
	}{
		"unknown key": {app.Sources{File: write(t, "lissten: x\n")}, "unknown key lissten"},
		"unknown variable": {app.Sources{Environ: []string{"UNDERSTUDY_NOPE=1"}},
			"unknown key nope"},
		"failpoint in file": {app.Sources{File: write(t, "failpoint: after_effect:cut\n")},
			"unknown key failpoint"},
		"lost root in file": {app.Sources{File: write(t, "replace_lost_root: true\n")},
			"unknown key replace_lost_root"},
		"lost root in environment": {app.Sources{
			Environ: []string{"UNDERSTUDY_REPLACE_LOST_ROOT=true"}},
			"unknown key replace_lost_root"},
		"no such file": {app.Sources{File: "/no/such", Required: true}, "no such file"},
		"no YAML":      {app.Sources{File: write(t, "a: [")}, "cannot read"},
		"wrong type":   {app.Sources{File: write(t, "listen: {a: b}\n")}, "listen"},
		"no port": {app.Sources{Flags: map[string]any{"listen": []string{"localhost"}}},
			"listen"},
		"no address": {app.Sources{Flags: map[string]any{"listen": []string{}}}, "listen"},
		"advertise all": {app.Sources{Flags: map[string]any{"advertise": []string{":7440"}}},
			"names no host"},
		"relative path": {app.Sources{Flags: map[string]any{"state_dir": "state"}},
			"state_dir"},
		"provider": {app.Sources{Flags: map[string]any{"provider": "ec3"}},
			"must be one of ec2, manual"},
		"no provider": {app.Sources{}, "one of --provider or --dev is required"},
		"lab without dev": {app.Sources{Flags: map[string]any{"provider": "nspawn"}},
			"the lab of --dev"},
		"level": {app.Sources{Flags: map[string]any{"log_level": "loud"}}, "log_level"},
		"format": {app.Sources{Flags: map[string]any{"log_format": "xml"}},
			"log_format"},
		"metrics": {app.Sources{Flags: map[string]any{"metrics": "on"}}, "metrics"},
		"duration": {app.Sources{Flags: map[string]any{"beat_interval": "soon"}},
			"beat_interval"},
		"too often": {app.Sources{Flags: map[string]any{"beat_interval": "1ms"}},
			"beat_interval"},
		"hasty retention": {app.Sources{Flags: map[string]any{"retain_jobs": "1h"}},
			"retain_jobs"},
		"events before their jobs": {app.Sources{Flags: map[string]any{"retain_events": "48h"}},
			"less than retain_jobs"},
		"manual in a shared store": {app.Sources{Flags: map[string]any{"provider": "manual",
			"store_dsn_file": "/etc/understudy/store"}}, "keeps its records in state_dir"},
		"attestation of nobody": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"attest": "gcp"}}, "attest: \"gcp\" must be ec2"},
		"attestation without EC2": {app.Sources{Flags: map[string]any{"provider": "manual",
			"attest": "ec2", "attest_accounts": []string{"123456789012"},
			"attest_certificates": "/a.pem"}}, "needs the provider ec2"},
		"attestation of any account": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"attest": "ec2", "attest_certificates": "/a.pem"}}, "attest_accounts"},
		"attestation of a name": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"attest": "ec2", "attest_accounts": []string{"mine"},
			"attest_certificates": "/a.pem"}}, "12 digits"},
		"attestation by any key": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"attest": "ec2", "attest_accounts": []string{"123456789012"}}},
			"attest_certificates"},
		"accounts without attestation": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"attest_accounts": []string{"123456789012"}}}, "attest_accounts"},
		"a key in any place": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"ca_key": "hsm"}}, "ca_key: \"hsm\" must be one of"},
		"a key in no file": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"ca_key": "file"}}, "needs ca_key_files"},
		"a key in some folder": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"ca_key_files": []string{"ca-key"}}}, "ca_key_files: \"ca-key\" is not an absolute"},
		"a NAT without attestation": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"attest_nat": []string{"203.0.113.7"}}}, "attest_nat: goes with attest"},
		"a NAT that is everywhere": {attesting("203.0.113.7", "0.0.0.0/0"), "wider than /16"},
		"a NAT of all of IPv6":     {attesting("::/0"), "wider than /48"},
		"a NAT that is mapped":     {attesting("::ffff:0.0.0.0/96"), "is no address"},
		"a NAT with a name":        {attesting("nat.example.com"), "is no address"},
		"a signer that is none": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"ca_key": "signer"}}, "needs ca_signer"},
		"a signer of any folder": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"ca_signer": []string{"sign", "-x"}}}, "the absolute path of a program"},
		"a patient signer": {app.Sources{Flags: map[string]any{"provider": "ec2",
			"ca_signer_limit": "1h"}}, "ca_signer_limit"},
		"impatient": {app.Sources{Flags: map[string]any{"unreachable_after": "1s"}},
			"unreachable_after"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := app.Load(test.sources); err == nil ||
				!strings.Contains(err.Error(), test.said) {
				t.Errorf("%v, want %q in it", err, test.said)
			}
		})
	}
}

// attesting has machines of EC2 attested that are behind a NAT.
func attesting(nat ...string) app.Sources {
	return app.Sources{Flags: map[string]any{"provider": "ec2", "attest": "ec2",
		"attest_accounts":     []string{"123456789012"},
		"attest_certificates": "/a.pem", "attest_nat": nat}}
}
