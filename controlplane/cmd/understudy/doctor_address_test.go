package main

import (
	"strings"
	"testing"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestDoctorNamesAgentsWithAnOldAddress(t *testing.T) {
	t.Parallel()
	servers := []*cpv1.Server{{Name: "servers/db1"},
		{Name: "servers/db2", AgentHasOldAddress: true},
		{Name: "servers/db3", AgentHasOldAddress: true}}
	if got := (&cli{}).examineAddresses(servers[:1]); !got.OK {
		t.Errorf("all know it: %+v", got)
	}
	got := (&cli{}).examineAddresses(servers)
	if got.OK || !strings.Contains(got.Found, "db2, db3") || strings.Contains(got.Found, "db1") ||
		!strings.Contains(got.Hint, "understudy token create db2") {
		t.Errorf("two do not: %+v", got)
	}
}
