//go:build lab

package faults

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/deploy/stack"
)

func machineRows() []row {
	return []row{
		{
			id: "C9", variant: "machine terminated on EC2", long: true,
			run: (*lab).terminatedByHand,
			planted: "on EC2, which throttles one call in three, somebody terminates the " +
				"replica's instance in the middle of the job",
			happens: "the job fails with MACHINE_GONE, naming the instance; `job cleanup` leaves " +
				"nothing; the next replica, made under throttling too, converges (S7)",
			why: "a step whose agent does not answer asks the provider about the machine; a " +
				"throttled call is a reason to wait",
		},
		{
			id: "C9", variant: "power lost", run: (*lab).powerLost,
			planted: "the replica's machine loses its power in the middle of the job",
			happens: "it is switched on again; converges",
			why: "a machine that this job makes has to run; what was mounted is mounted " +
				"again after a boot",
		},
	}
}

func (l *lab) powerLost() {
	m := l.makeUntil("before_effect:prepare_replica")
	l.signal(l.machineOf(m.name).Leader, unix.SIGKILL)
	l.eventually(2*time.Minute, "the provider has noticed", func() bool {
		for _, machine := range l.machines() {
			if machine.Name == m.name {
				return machine.Phase == "stopped"
			}
		}
		return false
	})
	l.goesOn(m)
}

func (l *lab) terminatedByHand() {
	s := l.side(stack.Config{Provider: "ec2",
		EndpointArgs: []string{"--throttle", "33", "--consistency", "300ms", "--seed", "3"}}, nil)
	m := making{name: s.name()}
	s.dieAt("before_effect:prepare_replica")
	m.job = s.detach("replica", "create", m.name, "--of", primary, "--image", "trixie-masked")
	s.awaitDead()
	machine := s.recorded(m.name).MachineID
	s.terminate(machine)
	s.start()
	s.fails(m.job, "MACHINE_GONE", machine, m.name)
	s.run("job", "cleanup", m.job)
	if out := s.run("provider", "sweep"); !strings.Contains(out, "nothing") {
		s.t.Errorf("something was left behind:\n%s", out)
	}
	next := s.name()
	s.run("replica", "create", next, "--of", primary, "--image", "trixie-masked")
	s.same(next)
	s.throttles()
}

// recorded is a server's record.
func (l *lab) recorded(name string) serverDoc {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	for _, s := range docs[serverDoc](l, db, "servers") {
		if s.Name == name {
			return s
		}
	}
	l.t.Fatalf("no record of %s", name)
	return serverDoc{}
}

// atEC2 is the SDK's client at the lab's endpoint.
func (l *lab) atEC2(attempts int) *ec2.Client {
	at := l.Endpoint()
	return ec2.New(ec2.Options{Region: at.Region, BaseEndpoint: aws.String(at.URL),
		Credentials:      credentials.NewStaticCredentialsProvider(at.AdminKey, "person", ""),
		RetryMaxAttempts: attempts})
}

// terminate ends an instance as a person at EC2's console would.
func (l *lab) terminate(instance string) {
	l.t.Helper()
	if _, err := l.atEC2(20).TerminateInstances(l.t.Context(),
		&ec2.TerminateInstancesInput{InstanceIds: []string{instance}}); err != nil {
		l.t.Fatal(err)
	}
}

// throttles fails the row when the endpoint does not throttle: then it proved nothing.
func (l *lab) throttles() {
	l.t.Helper()
	for range 100 {
		if _, err := l.atEC2(1).DescribeVolumes(l.t.Context(),
			&ec2.DescribeVolumesInput{}); err != nil &&
			strings.Contains(err.Error(), "RequestLimitExceeded") {
			return
		}
	}
	l.t.Error("none of 100 calls was throttled")
}
