package main

import (
	"flag"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/agent"
	"github.com/understudy-db/understudy/proto/rpc/authz/authztest"
)

var update = flag.Bool("update", false, "write the table of roles into docs/roles.md")

// The tests of package agent run on a host, which has no docs.
func TestRolesAreOnTheirPage(t *testing.T) {
	t.Parallel()
	table, err := agent.Rules()
	if err != nil {
		t.Fatal(err)
	}
	authztest.Page(t, "../../../docs/roles.md", "agent", table, *update)
}
