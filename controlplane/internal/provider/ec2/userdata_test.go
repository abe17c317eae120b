package ec2

import (
	"encoding/base64"
	"testing"

	"gopkg.in/yaml.v3"
)

// The user data is YAML that cloud-init reads, with the whole join file in it.
func TestUserDataIsCloudConfig(t *testing.T) {
	t.Parallel()
	made, err := userData("db1", []byte("join file"), true)
	if err != nil {
		t.Fatal(err)
	}
	data, err := base64.StdEncoding.DecodeString(*made)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Hostname   string
		WriteFiles []map[string]string `yaml:"write_files"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	if config.Hostname != "db1" || len(config.WriteFiles) != 2 {
		t.Fatalf("cloud-init reads %+v", config)
	}
	if cache := config.WriteFiles[0]; cache["path"] != cachePath ||
		cache["content"] != "manual_cache_clean: true\n" {
		t.Errorf("a machine that is to be sealed has %+v", cache)
	}
	for key, want := range map[string]string{"path": JoinPath, "owner": "root:root",
		"permissions": "0600", "encoding": "b64",
		"content": base64.StdEncoding.EncodeToString([]byte("join file"))} {
		if got := config.WriteFiles[1][key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// Names of servers that YAML reads as something else than a string end cloud-init before it writes
// the join file: https://github.com/canonical/cloud-init/issues/7006.
func TestHostNameStaysAString(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"on", "off", "yes", "no", "true", "false", "null", "1234", "0x1f",
		"1e5", "2026-11-30"} {
		made, err := userData(name, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		data, err := base64.StdEncoding.DecodeString(*made)
		if err != nil {
			t.Fatal(err)
		}
		var read yaml.Node
		if err := yaml.Unmarshal(data, &read); err != nil {
			t.Fatal(err)
		}
		host := read.Content[0].Content[1]
		if host.Value != name || host.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 {
			t.Errorf("%s reads as %s %s, by its tag and no quotes", name, host.Tag, host.Value)
		}
	}
}
