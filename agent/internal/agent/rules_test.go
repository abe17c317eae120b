package agent

import (
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func TestRules(t *testing.T) {
	t.Parallel()
	methods := authz.MethodsOf(agentv1.File_understudy_agent_v1_host_service_proto,
		agentv1.File_understudy_agent_v1_systemd_service_proto,
		agentv1.File_understudy_agent_v1_mount_service_proto,
		agentv1.File_understudy_agent_v1_mariadb_service_proto,
		agentv1.File_understudy_agent_v1_observation_service_proto)
	if err := authz.Complete(rules(), methods); err != nil {
		t.Error(err)
	}
}
