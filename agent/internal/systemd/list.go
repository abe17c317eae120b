package systemd

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// List is all units on the allow-list that are loaded or have a file, sorted by name.
func (m *Manager) List(ctx context.Context) ([]Unit, error) {
	names, err := m.names(ctx)
	if err != nil {
		return nil, err
	}
	var units []Unit
	for _, name := range names {
		unit, err := m.bus.look(ctx, name)
		if err != nil {
			return nil, err
		}
		if unit.Load != "not-found" || !unit.Stopped() {
			units = append(units, unit)
		}
	}
	return units, nil
}

func (m *Manager) names(ctx context.Context) ([]string, error) {
	conn, err := m.bus.connect(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]struct{}{}
	loaded, err := conn.ListUnitsByPatternsContext(ctx, nil, m.allow.patterns())
	if err != nil {
		return nil, wrap("cannot list the units", "", err)
	}
	for _, unit := range loaded {
		known[unit.Name] = struct{}{}
	}
	files, err := conn.ListUnitFilesByPatternsContext(ctx, nil, m.allow.patterns())
	if err != nil {
		return nil, wrap("cannot list the unit files", "", err)
	}
	for _, file := range files {
		known[file.Path[strings.LastIndexByte(file.Path, '/')+1:]] = struct{}{}
	}
	maps.DeleteFunc(known, func(name string, _ struct{}) bool {
		// A template is no unit until it has an instance.
		return strings.Contains(name, "@.") || CheckName(name) != nil || !m.allow.Sees(name)
	})
	return slices.Sorted(maps.Keys(known)), nil
}
