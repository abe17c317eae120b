package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// values is a koanf provider of what was read already.
type values map[string]any

// Read is the values.
func (v values) Read() (map[string]any, error) { return v, nil }

// ReadBytes is not used by koanf without a parser.
func (v values) ReadBytes() ([]byte, error) { return nil, errors.New("these values have no bytes") }

func readYAML(path string, required bool) (map[string]any, error) {
	data, err := os.ReadFile(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) && !required {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	var parsed map[string]any
	if err := yaml.Unmarshal(data, &parsed); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return parsed, nil
}

// foreignVariables begin with EnvPrefix too, and are not of the configuration: the command line's, where the file is, the failpoint.
var foreignVariables = []string{"ADDRESS", "CREDENTIALS", "CONFIG", failpointVariable}

const failpointVariable = "FAILPOINT"

// readEnviron takes what begins with EnvPrefix.
func readEnviron(environ []string) (parsed map[string]any, failpoint string) {
	parsed = map[string]any{}
	known := defaults()
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		key, ours := strings.CutPrefix(name, EnvPrefix)
		if key == failpointVariable {
			failpoint = value
		}
		if !ours || slices.Contains(foreignVariables, key) || strings.HasPrefix(key, "AGENT_") && key != "AGENT_BINARY" {
			continue
		}
		key = strings.ToLower(key)
		parsed[key] = value
		if _, isList := known[key].([]string); isList {
			parsed[key] = splitList(value)
		}
	}
	return parsed, failpoint
}

func splitList(value string) []string {
	list := []string{}
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
