// Package settings reads the configuration of a daemon in layers: flags win over the environment,
// that over a YAML file, that over the defaults. A key that is not known is an error, wherever it
// comes from.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
	"gopkg.in/yaml.v3"
)

// Sources is where a configuration comes from.
type Sources struct {
	// File is the path of a YAML file; a file that is not there is an error only if Required.
	File     string
	Required bool
	// Environ is the environment, "NAME=value".
	Environ []string
	// Flags are those that were given, by key.
	Flags map[string]any
}

// Schema is what a daemon can be told.
type Schema struct {
	// Defaults has a value for each key that is known.
	Defaults map[string]any
	// FlagsAlone are the keys beside these that flags alone have: what is meant for one start must
	// not stay in a file.
	FlagsAlone []string
	// EnvPrefix begins the name of every variable that is read: with "X_", X_LISTEN is `listen`.
	// Lists are separated by commas.
	EnvPrefix string
	// Foreign says of the rest of a name with the prefix that it is not of the configuration.
	Foreign func(rest string) bool
}

// Load reads all sources into a structure whose fields carry `koanf` tags.
func (s Schema) Load(from Sources, into any) error {
	fromFile, err := readYAML(from.File, from.Required)
	if err != nil {
		return err
	}
	k := koanf.New(".")
	for _, layer := range []struct {
		where  string
		values map[string]any
		more   []string
	}{{"defaults", s.Defaults, nil}, {from.File, fromFile, nil},
		{"the environment", s.environ(from.Environ), nil}, {"flags", from.Flags, s.FlagsAlone}} {
		if err := s.checkKeys(layer.where, layer.values, layer.more); err != nil {
			return err
		}
		if err := k.Load(values(layer.values), nil); err != nil {
			return fmt.Errorf("cannot read %s: %w", layer.where, err)
		}
	}
	if err := k.Unmarshal("", into); err != nil {
		// The library spreads its complaints over several lines.
		return fmt.Errorf("cannot read the configuration: %s",
			strings.Join(strings.Fields(err.Error()), " "))
	}
	return nil
}

func (s Schema) checkKeys(where string, given map[string]any, more []string) error {
	unknown := slices.DeleteFunc(slices.Sorted(maps.Keys(given)), func(key string) bool {
		_, known := s.Defaults[key]
		return known || slices.Contains(more, key)
	})
	if len(unknown) == 0 {
		return nil
	}
	return fmt.Errorf("cannot read %s: unknown key %s; known are %s", where,
		strings.Join(unknown, ", "),
		strings.Join(slices.Sorted(maps.Keys(s.Defaults)), ", "))
}

func (s Schema) environ(environ []string) map[string]any {
	parsed := map[string]any{}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		rest, ours := strings.CutPrefix(name, s.EnvPrefix)
		if !ours || s.Foreign(rest) {
			continue
		}
		key := strings.ToLower(rest)
		parsed[key] = value
		if _, isList := s.Defaults[key].([]string); isList {
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

// values is a koanf provider of what was read already.
type values map[string]any

// Read is the values.
func (v values) Read() (map[string]any, error) { return v, nil }

// ReadBytes is not used by koanf without a parser.
func (v values) ReadBytes() ([]byte, error) { return nil, errors.New("these values have no bytes") }
