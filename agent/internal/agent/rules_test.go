package agent

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func TestRules(t *testing.T) {
	t.Parallel()
	methods := authz.MethodsOf(agentv1.File_understudy_agent_v1_host_service_proto,
		agentv1.File_understudy_agent_v1_systemd_service_proto,
		agentv1.File_understudy_agent_v1_mount_service_proto,
		agentv1.File_understudy_agent_v1_mariadb_service_proto)
	if err := authz.Complete(rules(), methods); err != nil {
		t.Error(err)
	}
}

// TestOperatorsCallsAreDocumented finds a call that its comment leaves to operators and no page
// shows.
func TestOperatorsCallsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/grpcurl.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../../proto/understudy/agent/v1/*.proto")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`(?s)((?:  // [^\n]*\n)+)  rpc (\w+)`)
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range call.FindAllStringSubmatch(string(text), -1) {
			comment := strings.Join(strings.Fields(strings.ReplaceAll(found[1], "//", "")), " ")
			if !strings.Contains(comment, "for an operator with grpcurl") {
				continue
			}
			seen++
			if !strings.Contains(string(page), "/"+found[2]) {
				t.Errorf("docs/grpcurl.md does not show %s", found[2])
			}
		}
	}
	if seen == 0 {
		t.Error("no call is left to operators")
	}
}
