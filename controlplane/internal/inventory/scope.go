package inventory

import (
	"path"
	"slices"
)

// Scope is which servers an operator works with: patterns of names, in which an asterisk stands for
// any characters. An empty one is no scope: all servers.
type Scope []string

// AllServers is the pattern of every name.
const AllServers = "*"

// ScopeOf is the scope of patterns that somebody gave; the pattern of every name makes it empty.
func ScopeOf(patterns []string) Scope {
	if slices.Contains(patterns, AllServers) {
		return nil
	}
	scope := slices.Clone(patterns)
	slices.Sort(scope)
	return slices.Compact(scope)
}

// NoServers is the scope of somebody who works with none: no name has a slash.
func NoServers() Scope { return Scope{"/"} }

// Has says whether the server is in the scope.
func (s Scope) Has(server string) bool {
	for _, pattern := range s {
		if match, err := path.Match(pattern, server); match && err == nil {
			return true
		}
	}
	return len(s) == 0
}
