package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/agent"
)

// FuzzLoad reads configuration files.
func FuzzLoad(f *testing.F) {
	f.Add("listen: :7443\nlog_level: debug\n", "UNDERSTUDY_AGENT_UNITS=a,b")
	f.Add("units: {a: b}\n", "UNDERSTUDY_AGENT_=x")
	f.Add("- a", "=")
	f.Fuzz(func(t *testing.T, content, variable string) {
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := agent.Load(agent.Sources{File: path, Required: true,
			Environ: []string{variable}})
		if err == nil && !filepath.IsAbs(cfg.StateDir) {
			t.Errorf("%q gave %+v", content, cfg)
		}
	})
}
