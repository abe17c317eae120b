package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !required {
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

// readEnviron takes what begins with EnvPrefix.
func readEnviron(environ []string) map[string]any {
	parsed := map[string]any{}
	known := defaults()
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		key, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours || key == "CONFIG" { // where the file is, is not in the file
			continue
		}
		key = strings.ToLower(key)
		parsed[key] = value
		if _, isList := known[key].([]string); isList {
			parsed[key] = splitList(value)
		}
	}
	return parsed
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
