//go:build vm

package vm

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

const (
	primary = "db1"
	replica = "db2"
)

// TestReplica makes a replica whose machine loses its power again and again, and then does to the
// READY one what happens to machines.
func TestReplica(t *testing.T) {
	s := newSite(t)
	w := &written{}
	for _, part := range []struct {
		name string
		run  func(*pair)
	}{
		{"primary", (*pair).makePrimary},
		{"snapshot", (*pair).takeSnapshot},
		{"replica through losses of power", (*pair).makeReplica},
		{"loss of power when READY", (*pair).powerLoss},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(&pair{s.in(t), w}) }) {
			return // the next part begins with what this one leaves
		}
	}
}

// pair is a primary that is written to, and its replica.
type pair struct {
	*site
	*written
}

type written struct {
	snapshot, making string // the replica's job
	writer           *stack.Writer
}

func (p *pair) makePrimary() {
	p.until(p.asks("server", "create", primary, "--image", "trixie", "--size", "1GiB"))
	p.becomes(primary, cpv1.Server_STATE_READY)
	p.machines[primary].sql(p.t, "CREATE DATABASE shop; USE shop; CREATE TABLE sale (id INT "+
		"PRIMARY KEY AUTO_INCREMENT, what TEXT); INSERT INTO sale (what) SELECT UUID() FROM "+
		"seq_1_to_5000; CREATE USER shop@'%' IDENTIFIED BY 'shop'; GRANT ALL ON shop.* TO "+
		"shop@'%'")
	w, err := stack.StartWriter(context.WithoutCancel(p.t.Context()), stack.Account{
		Host: p.machines[primary].address(), User: "shop", Password: "shop", Schema: "shop"},
		500*time.Millisecond)
	if err != nil {
		p.t.Fatal(err)
	}
	p.writer = w
	p.whole.Cleanup(func() {
		if n, err := w.Stop(); err != nil {
			p.whole.Errorf("the primary refused a write after %d: %v", n, err)
		}
	})
}

func (p *pair) takeSnapshot() {
	p.until(p.asks("snapshot", "create", primary, "--mode", "online", "--quiesce-limit", "60s"))
	answer, err := cpv1.NewSnapshotServiceClient(p.conn).ListSnapshots(p.t.Context(),
		&cpv1.ListSnapshotsRequest{})
	if err != nil || len(answer.GetSnapshots()) != 1 {
		p.t.Fatalf("snapshots: %v, %v", answer, err)
	}
	p.snapshot = answer.GetSnapshots()[0].GetName()
}

// makeReplica cuts the power of the replica's machine once in each of these steps. The job goes on
// by itself.
func (p *pair) makeReplica() {
	for _, step := range []string{"mount_data", "start_mariadb", "configure_replica",
		"start_replica", "catch_up", "verify", "finish"} {
		p.during[step] = func() {
			p.t.Logf("power lost in %s", step)
			p.machines[replica].losePower()
			p.machines[replica].power(p.t)
		}
	}
	p.making = p.asks("replica", "create", replica, "--from", p.snapshot, "--image", "trixie")
	job := p.until(p.making)
	for _, step := range job.GetSteps() {
		p.t.Logf("%s: %s, %d attempts", step.GetName(), step.GetState(), step.GetAttempts())
	}
	for step := range p.during {
		p.t.Errorf("%s never ran", step)
	}
	p.equal()
}

// equal waits until the replica is READY and has what the primary has.
func (p *pair) equal() {
	p.t.Helper()
	p.becomes(replica, cpv1.Server_STATE_READY)
	const rows = "SELECT COUNT(*), SUM(CRC32(what)) FROM shop.sale; SELECT COUNT(*), " +
		"SUM(CRC32(CONCAT(id, at))) FROM shop.probe WHERE id <= "
	from, to := p.machines[primary], p.machines[replica]
	last, position, _ := strings.Cut(from.sql(p.t,
		"SELECT MAX(id) FROM shop.probe; SELECT @@gtid_binlog_pos"), "\n")
	if got := to.sql(p.t, fmt.Sprintf("SELECT MASTER_GTID_WAIT('%s', 600)", position)); got != "0" {
		p.t.Fatalf("the replica does not reach %s: %s", position, got)
	}
	if a, b := from.sql(p.t, rows+last), to.sql(p.t, rows+last); a != b {
		p.t.Errorf("the primary has\n%s\nthe replica\n%s", a, b)
	}
}

func (p *pair) powerLoss() {
	m := p.machines[replica]
	m.losePower()
	p.becomes(replica, cpv1.Server_STATE_UNREACHABLE)
	m.power(p.t)
	p.equal()
}
