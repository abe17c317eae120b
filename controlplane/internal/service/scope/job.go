package scope

import (
	"encoding/json"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// parties are the servers in the arguments of any kind of job.
type parties struct {
	Server  string `json:"server"`
	Source  string `json:"source"`
	Replica string `json:"replica"`
	Primary string `json:"primary"`
	// Ignored are replicas that lose what they need.
	Ignored []string `json:"ignored"`
}

// serversOfJob are the servers that the job changes, and those that it has to do with. A job about
// a snapshot is of the snapshot's server.
func serversOfJob(j job.Job) (of, touched []string) {
	var with parties
	if err := json.Unmarshal(j.Args, &with); err != nil {
		return nil, nil // nobody with a scope sees it
	}
	for _, subject := range j.Subjects {
		if name, ok := strings.CutPrefix(subject, servers); ok {
			of = append(of, name)
		} else if name, ok := strings.CutPrefix(subject, inventory.SnapshottingSubject("")); ok {
			of = append(of, name)
		} else if strings.HasPrefix(subject, snapshots) {
			of = append(of, with.Source)
		}
	}
	touched = append(touched, of...)
	named := []string{with.Server, with.Source, with.Replica, with.Primary}
	for _, name := range append(named, with.Ignored...) {
		if name != "" {
			touched = append(touched, name)
		}
	}
	return of, touched
}
