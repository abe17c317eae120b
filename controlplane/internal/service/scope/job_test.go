package scope

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// A purge that is retried counts as one that is asked for: the replicas that lose what they need
// have to be inside.
func TestAJobTouchesTheReplicasThatItIgnores(t *testing.T) {
	t.Parallel()
	of, touched := serversOfJob(job.Job{Subjects: []string{"servers/shop-1"},
		Args: json.RawMessage(`{"server":"shop-1","ignored":["db2"]}`)})
	if !slices.Equal(of, []string{"shop-1"}) || !slices.Contains(touched, "db2") {
		t.Errorf("of %v, touches %v", of, touched)
	}
}
