//go:build lab

package agent_test

import (
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	quiesceUnit = "understudy-quiesce.service"
	nonce       = "0123456789abcdef0123456789abcdef"
	otherNonce  = "fedcba9876543210fedcba9876543210"
)

// primary is a host whose MariaDB has its datadir on a volume, and the control plane's side of it.
type primary struct {
	*installed
	mariadb agentv1.MariaDBServiceClient
}

func newPrimary(t *testing.T) primary {
	t.Helper()
	a := install(t)
	lab.Run(t, "systemctl", "stop", "mariadb.service", "mariadb.socket", "mariadb-extra.socket")
	device := lab.NewVolume(t, "vol-q", 700).Device
	lab.Run(t, "mkfs.ext4", "-q", device)
	lab.Run(t, "mkdir", "-p", "/srv/mariadb")
	lab.Run(t, "mount", device, "/srv/mariadb")
	lab.Run(t, "mkdir", "/srv/mariadb/mysql")
	lab.Run(t, "mount", "--bind", "/srv/mariadb/mysql", "/var/lib/mysql")
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := lab.Try("journalctl", "--no-pager", "-n", "60")
			t.Log(out)
		}
		lab.Try("systemctl", "stop", quiesceUnit)
		lab.Try("systemctl", "stop", "mariadb.service")
		for _, mount := range []string{"/var/lib/mysql", "/srv/mariadb"} {
			lab.Eventually(t, time.Minute, mount+" is unmounted", func() bool {
				_, err := lab.Try("umount", mount)
				return err == nil
			})
		}
	})
	p := primary{a, agentv1.NewMariaDBServiceClient(a.dial(t,
		a.ca.Source(identity.ControlPlane())))}
	if _, err := p.mariadb.PrepareDatadir(t.Context(),
		&agentv1.PrepareDatadirRequest{Initialize: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.mariadb.SetConfiguration(t.Context(), &agentv1.SetConfigurationRequest{
		ServerId: 1, LogBin: "mariadb-bin", BindAddress: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "systemctl", "start", "mariadb.service")
	p.serves(t, time.Minute)
	return p
}

func (p primary) serves(t *testing.T, within time.Duration) {
	t.Helper()
	lab.Eventually(t, within, "MariaDB serves", func() bool {
		_, err := lab.Try("mariadb", "-e", "SELECT 1")
		return err == nil
	})
}

// held proves that MariaDB is stopped and stays so.
func held(t *testing.T) {
	t.Helper()
	if out, err := lab.Try("systemctl", "start", "mariadb.service"); err == nil ||
		!strings.Contains(out+err.Error(), "ssertion failed") {
		t.Errorf("MariaDB is not held down: %s %v", out, err)
	}
	if state, _ := lab.Try("systemctl", "is-active", quiesceUnit); strings.TrimSpace(state) !=
		"active" {
		t.Errorf("the process is %s", state)
	}
}

type stream = agentv1.MariaDBService_QuiesceClient

func (p primary) send(t *testing.T, request *agentv1.QuiesceRequest, job string,
	epoch int64) (stream, *agentv1.QuiesceResponse, error) {
	t.Helper()
	s, err := p.mariadb.Quiesce(t.Context())
	if err != nil {
		return nil, nil, err
	}
	request.FencingToken = &agentv1.FencingToken{Job: job, Epoch: epoch,
		EffectKey: strings.TrimPrefix(job, "jobs/") + "/quiesce/1"}
	if err := s.Send(request); err != nil {
		return nil, nil, err
	}
	for {
		m, err := s.Recv()
		if err != nil || m.GetPoint() != nil {
			return s, m, err
		}
	}
}

func (p primary) quiesce(t *testing.T, limit time.Duration) (stream, *agentv1.ConsistentPoint) {
	t.Helper()
	s, m, err := p.send(t, &agentv1.QuiesceRequest{Action: &agentv1.QuiesceRequest_Start_{
		Start: &agentv1.QuiesceRequest_Start{Mode: agentv1.QuiesceRequest_MODE_OFFLINE,
			Limit: durationpb.New(limit), Nonce: nonce, Freeze: true,
			AdoptWithin: durationpb.New(2 * time.Minute)}}}, "jobs/1", 1)
	if err != nil {
		t.Fatal(err)
	}
	held(t)
	return s, m.GetPoint()
}

func (p primary) adopt(t *testing.T, job, nonce string,
	epoch int64) (stream, *agentv1.QuiesceResponse, error) {
	t.Helper()
	return p.send(t, &agentv1.QuiesceRequest{Action: &agentv1.QuiesceRequest_Adopt_{
		Adopt: &agentv1.QuiesceRequest_Adopt{Nonce: nonce}}}, job, epoch)
}

// killAgent kills the agent and waits for the next one.
func killAgent(t *testing.T) {
	t.Helper()
	first := show(t, "InvocationID")
	lab.Run(t, "systemctl", "kill", "-s", "KILL", unitName)
	lab.Eventually(t, time.Minute, "the agent is back", func() bool {
		return show(t, "InvocationID") != first && show(t, "ActiveState") == "active"
	})
}

// S2: an agent that is killed does not end an offline quiesce; the job goes on with it, and nobody
// else.
func TestAnOfflineQuiesceOutlivesItsAgent(t *testing.T) {
	p := newPrimary(t)
	_, point := p.quiesce(t, 10*time.Minute)
	for range 2 {
		killAgent(t)
		held(t)
	}
	fromAnotherUser(t)
	for _, wrong := range []struct{ job, nonce string }{{"jobs/1", otherNonce},
		{"jobs/2", nonce}} {
		if _, _, err := p.adopt(t, wrong.job, wrong.nonce, 1); errs.ReasonOf(err) !=
			errorsv1.Reason_REASON_QUIESCE_BUSY {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	if ended, err := p.mariadb.EndQuiesce(t.Context(), &agentv1.EndQuiesceRequest{}); err != nil ||
		ended.GetResult() != nil {
		t.Errorf("an operator ended the quiesce of a job: %v %v", ended, err)
	}
	first, again, err := p.adopt(t, "jobs/1", nonce, 1)
	if err != nil || again.GetPoint().GetGtid().GetBinlogPos() != point.GetGtid().GetBinlogPos() ||
		!again.GetPoint().GetAt().AsTime().Equal(point.GetAt().AsTime()) ||
		again.GetLeft().AsDuration() <= 0 || again.GetLeft().AsDuration() > 10*time.Minute {
		t.Fatalf("%v, not %v: %v", again, point, err)
	}
	second, _, err := p.adopt(t, "jobs/1", nonce, 2)
	if err != nil {
		t.Fatal(err)
	}
	resume := func(s stream, epoch int64) (*agentv1.QuiesceResponse, error) {
		// A stream that has ended says so in its answer.
		_ = s.Send(&agentv1.QuiesceRequest{Action: &agentv1.QuiesceRequest_Resume_{
			Resume: &agentv1.QuiesceRequest_Resume{}}, FencingToken: &agentv1.FencingToken{
			Job: "jobs/1", Epoch: epoch, EffectKey: "1/resume/1"}})
		return s.Recv()
	}
	if m, err := resume(first, 1); errs.KindOf(err) != errs.Aborted {
		t.Errorf("a caller that lost its job resumed MariaDB: %v %v", m, err)
	}
	if _, _, err := p.adopt(t, "jobs/1", nonce, 1); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_STALE_EPOCH {
		t.Errorf("a caller that lost its job adopted: %v", err)
	}
	held(t)
	m, err := resume(second, 2)
	if err != nil || !m.GetResult().GetUnbroken() || m.GetResult().GetDown().AsDuration() <= 0 {
		t.Errorf("%v %v", m, err)
	}
	p.serves(t, time.Minute)
	if _, late, err := p.adopt(t, "jobs/1", nonce, 2); err != nil ||
		!late.GetResult().GetUnbroken() {
		t.Errorf("an answer that was lost is not had again: %v %v", late, err)
	}
}

// S2: systemd restarts an agent that hangs also while MariaDB is held.
func TestLongAnAgentThatHangsIsRestartedDuringAnOfflineQuiesce(t *testing.T) {
	p := newPrimary(t)
	lab.Write(t, "/etc/systemd/system/"+unitName+".d/fast.conf", "[Service]\nWatchdogSec=2\n")
	lab.Run(t, "systemctl", "daemon-reload")
	lab.Run(t, "systemctl", "restart", unitName)
	lab.Eventually(t, time.Minute, "the agent has cleared away what was left", func() bool {
		now, err := p.mariadb.GetStatus(t.Context(), &agentv1.GetStatusRequest{})
		return err == nil && now.GetStatus().GetAnswers() && !now.GetStatus().GetQuiesced()
	})
	p.quiesce(t, 10*time.Minute)
	before := show(t, "InvocationID")
	lab.Run(t, "systemctl", "kill", "-s", "STOP", unitName)
	lab.Eventually(t, time.Minute, "systemd restarts it", func() bool {
		return show(t, "InvocationID") != before && show(t, "ActiveState") == "active"
	})
	held(t)
	s, _, err := p.adopt(t, "jobs/1", nonce, 1)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Send(&agentv1.QuiesceRequest{Action: &agentv1.QuiesceRequest_Resume_{
		Resume: &agentv1.QuiesceRequest_Resume{}}, FencingToken: &agentv1.FencingToken{
		Job: "jobs/1", Epoch: 1, EffectKey: "1/resume/1"}})
	if m, err := s.Recv(); err != nil || !m.GetResult().GetUnbroken() {
		t.Errorf("%v %v", m, err)
	}
}

// fromAnotherUser connects to the process as a user who could reach its socket.
func fromAnotherUser(t *testing.T) {
	t.Helper()
	const dir, socket = "/run/understudy-agent", "/run/understudy-agent/quiesce.held.sock"
	lab.Run(t, "chmod", "0755", dir)
	lab.Run(t, "chmod", "0777", socket)
	defer lab.Run(t, "chmod", "0700", dir)
	heard := make(chan int, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: this thread has another user from here on
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); e != 0 {
			t.Error(e)
		}
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Error(err)
			heard <- 0
			return
		}
		defer conn.Close()
		n, _ := conn.Read(make([]byte, 1))
		heard <- n
	}()
	if n := <-heard; n > 0 {
		t.Error("another user was told what is held")
	}
}

// S2: without an agent the limit ends it, and the next agent tells why it was lost.
func TestAnOfflineQuiesceWithoutAnAgentEndsAtItsLimit(t *testing.T) {
	p := newPrimary(t)
	limit := 20 * time.Second
	p.quiesce(t, limit)
	lab.Write(t, "/etc/systemd/system/"+unitName+".d/stays-away.conf", "[Service]\nRestart=no\n")
	lab.Run(t, "systemctl", "daemon-reload")
	lab.Run(t, "systemctl", "kill", "-s", "KILL", unitName)
	held(t)
	p.serves(t, limit+time.Minute)
	lab.Run(t, "systemctl", "start", unitName)
	_, m, err := p.adopt(t, "jobs/1", nonce, 1)
	if err != nil || m.GetResult().GetUnbroken() ||
		!strings.Contains(m.GetResult().GetBrokenReason(), "its limit was over") {
		t.Errorf("%v %v", m, err)
	}
}

// S2: a loss is told with its cause, by the agent that saw it and by the one after it.
func TestAnOfflineQuiesceThatWasKilledIsToldWithItsCause(t *testing.T) {
	p := newPrimary(t)
	s, _ := p.quiesce(t, 10*time.Minute)
	lab.Run(t, "systemctl", "kill", "--kill-whom=main", "-s", "KILL", quiesceUnit)
	m, err := s.Recv()
	if err != nil || !strings.Contains(m.GetResult().GetBrokenReason(), "signal KILL") {
		t.Errorf("%v %v", m, err)
	}
	p.serves(t, time.Minute)
	killAgent(t)
	if _, _, err := p.adopt(t, "jobs/1", nonce, 1); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_QUIESCE_BROKEN || !strings.Contains(err.Error(), "signal KILL") {
		t.Errorf("%v", err)
	}
	// /run goes with a reboot.
	if err := os.Remove("/run/understudy-agent/quiesce.record"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.adopt(t, "jobs/1", nonce, 1); !strings.Contains(err.Error(), "no trace") {
		t.Errorf("%v", err)
	}
}

// S2: who kills the whole unit kills what systemd would run after it; the agent, or the next one,
// runs that.
func TestLongAnOfflineQuiesceThatWasKilledWithAllOfItsUnitEnds(t *testing.T) {
	p := newPrimary(t)
	s, _ := p.quiesce(t, 10*time.Minute)
	lab.Run(t, "systemctl", "kill", "-s", "KILL", quiesceUnit)
	m, err := s.Recv()
	if err != nil || m.GetResult().GetUnbroken() {
		t.Errorf("%v %v", m, err)
	}
	p.serves(t, time.Minute)
	p.quiesce(t, 10*time.Minute)
	lab.Run(t, "systemctl", "kill", "-s", "KILL", quiesceUnit, unitName)
	p.serves(t, time.Minute)
}

// S2: what its caller left waits for it, also over a stop of the agent, and is ended by its job.
func TestAnOfflineQuiesceIsEndedByItsJob(t *testing.T) {
	p := newPrimary(t)
	s, _ := p.quiesce(t, 10*time.Minute)
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); err == nil {
		t.Errorf("the stream goes on: %v", m)
	}
	held(t)
	lab.Run(t, "systemctl", "restart", unitName)
	held(t)
	ended, err := p.mariadb.EndQuiesce(t.Context(), &agentv1.EndQuiesceRequest{
		FencingToken: &agentv1.FencingToken{Job: "jobs/1", Epoch: 2, EffectKey: "1/resume/1"}})
	if err != nil || !strings.Contains(ended.GetResult().GetBrokenReason(), "its job ended it") {
		t.Errorf("%v %v", ended, err)
	}
	p.serves(t, time.Minute)
}
