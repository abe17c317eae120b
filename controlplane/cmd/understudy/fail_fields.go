package main

import (
	"regexp"
	"strings"
)

// fieldFlags are the flags that set the fields of requests whose names differ from theirs.
var fieldFlags = map[string][]string{
	"volume_size_bytes": {"size"}, "size_bytes": {"size"}, "options": {"option"},
	"primary": {"of"}, "server": {"of"}, "snapshot": {"from"}, "subject": {"on"},
	"page_size": {"limit"}, "states": {"state"}, "kinds": {"kind"}, "active_only": {"active"},
	"created_after": {"since"}, "created_before": {"until"}, "after": {"since"},
	"before": {"until"}, "server.etag": {"etag"}, "reason": {"reason", "why"},
	"confirm_delete.name": {"yes-delete"}, "confirm_delete.etag": {"yes-delete"},
	"validate_only": {"dry-run"},
}

var (
	indexed    = regexp.MustCompile(`\[.*$`)
	positional = regexp.MustCompile(`\b[A-Z]{2,}\b`)
)

// aboutFlags says what is wrong with a request in the words of the command line.
func (c *cli) aboutFlags(fields []fieldProblem) string {
	said := make([]string, len(fields))
	for i, f := range fields {
		said[i] = c.flagOf(f.Field) + " " + f.Why
	}
	return strings.Join(said, "; ")
}

// flagOf is the flag or the argument of the command that sets a field; the field itself when none
// does.
func (c *cli) flagOf(field string) string {
	base := indexed.ReplaceAllString(field, "")
	if c.current == nil {
		return field
	}
	for _, flag := range append(fieldFlags[base], strings.ReplaceAll(base, "_", "-")) {
		if c.current.Flags().Lookup(flag) != nil {
			return "--" + flag
		}
	}
	switch base {
	case "name", "server.name", "server", "id", "step":
		if words := positional.FindAllString(c.current.Use, -1); base == "step" && len(words) > 1 {
			return words[1]
		} else if len(words) > 0 {
			return words[0]
		}
	}
	return field
}
