package agent_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/agent"
	"github.com/understudy-db/understudy/deploy/systemd"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	t.Parallel()
	file := write(t, "listen: ':1'\nlog_level: warn\nstate_dir: /file\nunits: [a.service]\n")
	config, err := agent.Load(agent.Sources{File: file,
		Environ: []string{"HOME=/root", "UNDERSTUDY_AGENT_LISTEN=:2",
			"UNDERSTUDY_AGENT_LOG_LEVEL=error", "UNDERSTUDY_AGENT_MOUNT_POINTS=/a, /b",
			"UNDERSTUDY_AGENT_CONFIG=x"},
		Flags: map[string]any{"listen": ":3"}})
	if err != nil {
		t.Fatal(err)
	}
	if config.Listen != ":3" || config.LogLevel != "error" || config.StateDir != "/file" ||
		config.RuntimeDir != "/run/understudy-agent" {
		t.Errorf("config = %+v", config)
	}
	if !slices.Equal(config.Units, []string{"a.service"}) ||
		!slices.Equal(config.MountPoints, []string{"/a", "/b"}) {
		t.Errorf("lists = %v, %v", config.Units, config.MountPoints)
	}
}

// The file that is shipped explains every key, and says the defaults.
func TestTheFileThatIsShippedIsRight(t *testing.T) {
	t.Parallel()
	text := string(systemd.AgentConfig())
	for key := range reflect.TypeFor[agent.Config]().Fields() {
		explained := regexp.MustCompile(`(?m)^# .+\n` + key.Tag.Get("koanf") + ":")
		if !explained.MatchString(text) {
			t.Errorf("%s is not in the file, with a comment above", key.Tag.Get("koanf"))
		}
	}
	shipped, err := agent.Load(agent.Sources{File: write(t, text), Required: true})
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := agent.Load(agent.Sources{}); err != nil ||
		!reflect.DeepEqual(plain, shipped) {
		t.Errorf("the file says %+v, the defaults are %+v, %v", shipped, plain, err)
	}
}

func TestBadConfigurations(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		sources agent.Sources
		said    string
	}{
		"unknown key": {agent.Sources{File: write(t, "lissten: x\n")}, "unknown key lissten"},
		"unknown variable": {agent.Sources{Environ: []string{"UNDERSTUDY_AGENT_NOPE=1"}},
			"unknown key nope"},
		"no file":    {agent.Sources{File: "/no/such", Required: true}, "no such file"},
		"no YAML":    {agent.Sources{File: write(t, "a: [")}, "cannot read"},
		"wrong type": {agent.Sources{File: write(t, "units: {a: b}\n")}, "units"},
		"no address": {agent.Sources{Flags: map[string]any{"listen": "nowhere"}}, "listen"},
		"relative path": {agent.Sources{Flags: map[string]any{"state_dir": "state"}},
			"state_dir"},
		"root as a mount": {agent.Sources{Flags: map[string]any{"mount_points": []string{"/"}}},
			"mount_points"},
		"no level": {agent.Sources{Flags: map[string]any{"log_level": "loud"}},
			"log_level"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := agent.Load(test.sources); err == nil ||
				!strings.Contains(err.Error(), test.said) {
				t.Errorf("err = %v, want %q in it", err, test.said)
			}
		})
	}
}
