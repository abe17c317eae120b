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

// part is a part of a test: it begins with what the one before leaves.
type part struct {
	name string
	run  func(*pair)
}

// TestPowerLoss has the machine of a replica lose its power again and again.
func TestPowerLoss(t *testing.T) {
	run(t, []part{
		{"primary", (*pair).makePrimary},
		{"snapshot", (*pair).takeSnapshot},
		{"in the replica's job", func(p *pair) {
			p.makeReplica("mount_data", "start_mariadb", "configure_replica", "start_replica",
				"catch_up", "verify", "finish")
		}},
		{"when READY", (*pair).powerLoss},
	})
}

// TestHost does to the host of a READY replica what happens to hosts.
func TestHost(t *testing.T) {
	run(t, []part{
		{"primary", (*pair).makePrimary},
		{"snapshot", (*pair).takeSnapshot},
		{"replica", func(p *pair) { p.makeReplica() }},
		{"device pulled", (*pair).devicePulled},
		{"letters changed over a reboot", (*pair).lettersChanged},
		{"reboot", (*pair).reboot},
		{"clock wrong by more than a certificate's life", (*pair).wrongClock},
	})
}

func run(t *testing.T, parts []part) {
	t.Helper()
	s, w := newSite(t), &written{}
	for _, part := range parts {
		if !t.Run(part.name, func(t *testing.T) { part.run(&pair{s.in(t), w}) }) {
			return
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
func (p *pair) makeReplica(cut ...string) {
	for _, step := range cut {
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

func (p *pair) devicePulled() {
	m := p.machines[replica]
	v := p.dataVolume(replica)
	m.pull(p.t, v)
	p.becomes(replica, cpv1.Server_STATE_DEGRADED, "VOLUME_LOST", "attach its volume again",
		"understudy job retry "+strings.TrimPrefix(p.making, "jobs/")+" --step start_mariadb")
	m.plug(p.t, v)
	p.do("job", "retry", p.making, "--step", "start_mariadb")
	p.equal()
}

// dataVolume is the volume on which a server has its data.
func (p *pair) dataVolume(name string) *volume {
	p.t.Helper()
	what := p.machines[name].run(p.t, "grep -h ^What= /etc/systemd/system/srv-mariadb.mount")
	v := p.volumes[strings.TrimPrefix(what, "What=/dev/disk/by-id/")]
	if v == nil {
		p.t.Fatalf("%s has its data on %s, which nobody made", name, what)
	}
	return v
}

func (p *pair) lettersChanged() {
	m := p.machines[replica]
	const letter = "realpath /dev/disk/by-id/"
	v := p.dataVolume(replica)
	before := m.run(p.t, letter+v.device())
	m.powerOff(p.t)
	other := p.makeVolume(1<<26, "")
	other.scsi = v.scsi
	m.volumes = append([]*volume{other}, m.volumes...)
	m.rootLast = true
	m.power(p.t)
	if after := m.run(p.t, letter+v.device()); after == before {
		p.t.Errorf("the data's device is %s as before", after)
	}
	p.equal()
}

func (p *pair) reboot() {
	m := p.machines[replica]
	m.reboot(p.t)
	p.equal()
}

// wrongClock sets the replica's clock beyond the end of its certificate: the agent goes on over the
// connection that it has, and with none.
func (p *pair) wrongClock() {
	m := p.machines[replica]
	m.run(p.t, "date --set '2 years'")
	p.namesTheClock(cpv1.Server_STATE_DEGRADED)
	m.run(p.t, "systemctl restart --no-block understudy-agent")
	p.namesTheClock(cpv1.Server_STATE_UNREACHABLE)
	m.setClock(p.t)
	p.equal()
}

// namesTheClock waits until the replica has a state which shows both clocks.
func (p *pair) namesTheClock(state cpv1.Server_State) {
	p.t.Helper()
	now := time.Now().UTC()
	p.becomes(replica, state, "set the clock", now.Format("2006-01-02"),
		now.AddDate(2, 0, 0).Format("2006-01"))
}
