package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TestAHostThatServesDatabasesIsNotTaken plants servers of databases on the host of a new server.
func TestAHostThatServesDatabasesIsNotTaken(t *testing.T) {
	t.Parallel()
	shop := []string{"shop"}
	for name, c := range map[string]struct {
		runs    kit.DatabaseProcess
		refused bool
	}{
		"in MariaDB's unit": {kit.DatabaseProcess{PID: 7, Unit: "mariadb.service",
			Datadir: "/var/lib/mysql", Databases: shop}, true},
		"with a datadir elsewhere": {kit.DatabaseProcess{PID: 7, Unit: "mariadb.service",
			Datadir: "/data/mysql", DeviceIDs: []string{"virtio-other"}, Databases: shop}, true},
		"in another unit": {kit.DatabaseProcess{PID: 7, Unit: "mysqld.service",
			Datadir: "/var/lib/mysql", Databases: shop}, true},
		"in a container": {kit.DatabaseProcess{PID: 7, Datadir: "/srv/mariadb/mysql",
			Databases: shop}, true},
		"of its own, beside": {kit.DatabaseProcess{PID: 7, Unit: "mariadb@other.service",
			Datadir: "/var/lib/mysql-other", Databases: shop}, false},
		"without a database": {kit.DatabaseProcess{PID: 7, Unit: "mariadb.service",
			Datadir: "/var/lib/mysql"}, false},
	} {
		bubbles(t, name, func(t *testing.T) {
			w, p := lab(t)
			w.Plant = func(h *host) { h.Databases = []kit.DatabaseProcess{c.runs} }
			j := p.End(p.Ask(primary{Server: "db2"}).ID)
			s, _ := j.Step("await_agent")
			if !c.refused {
				succeeded(t, j)
				return
			}
			if j.State != job.Failed || s.Failure == nil || "REASON_"+s.Failure.Reason !=
				errorsv1.Reason_REASON_MOUNT_POINT_NOT_EMPTY.String() ||
				!strings.Contains(s.Failure.Message, "shop in "+c.runs.Datadir) {
				t.Errorf("job is %s\n%s", j.State, states(j))
			}
			if h := w.Host("db2"); h.Enabled || h.File != nil {
				t.Errorf("the host was changed: %+v", h)
			}
		})
	}
}

// TestTheImagesDefaultVolumeMayHaveDatabases: it is replaced, with all that is on it.
func TestTheImagesDefaultVolumeMayHaveDatabases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		w.Plant = func(h *host) {
			for id, v := range w.Cloud.Volumes {
				if v.Default {
					h.Databases = []kit.DatabaseProcess{{PID: 7, Unit: "mariadb.service",
						Datadir: "/srv/mariadb/mysql", DeviceIDs: []string{"virtio-" + id},
						Databases: []string{"sample"}}}
				}
			}
		}
		p.Must(primary{Server: "db2"})
	})
}
