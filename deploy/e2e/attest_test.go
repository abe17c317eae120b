//go:build lab

package e2e

import (
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestMachinesJoinWithoutAToken has the machine of a job join, and one that an operator launched
// and named, by what EC2 signs about them.
func TestMachinesJoinWithoutAToken(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, stack.Config{Name: "ec2-attest",
		Dir: filepath.Join("/var/lib/understudy-e2e", "ec2-attest"), Provider: "ec2", Attest: true,
		EndpointArgs: stack.BadDay(5)})
	l.run("server", "create", "db1", "--image", "trixie")
	if s := l.server("db1"); s.GetState() != cpv1.Server_STATE_READY {
		t.Errorf("db1 is %s", s.GetState())
	}

	machine := l.launch("db9")
	awaitTrue(t, time.Minute, "db9 has booted", func() bool {
		_, err := l.Exec(t.Context(), "db9", "systemctl", "is-active", "dbus.socket")
		return err == nil
	})
	line := l.joinLine("db9", "--machine", machine)
	if strings.Contains(line, "--token") {
		t.Errorf("the line has a secret: %s", line)
	}
	l.joins(line, "the metadata service has what EC2 signs about this machine",
		"enrolled as spiffe://understudy/agent/db9")
	l.joins(line, "this host is spiffe://understudy/agent/db9 already")

	events := l.run("event", "list", "--action", "server.enrol")
	tokens := l.run("token", "list", "-o", "json")
	for _, id := range []string{machine, l.server("db1").GetMachine()} {
		if !strings.Contains(events, "by attestation of machine "+id) ||
			!strings.Contains(tokens, id) {
			t.Errorf("how %s joined is not on record:\n%s\n%s", id, events, tokens)
		}
	}
	// Whoever is on the host reads the same document, and gets nothing for it any more.
	l.exec("db9", "rm", "-r", "/var/lib/understudy-agent/identity")
	out, err := l.Exec(t.Context(), "db9", "sh", "-c", line)
	if err == nil || !strings.Contains(out+err.Error(), "another key has joined by the start") {
		t.Errorf("another key joins by the same start: %v\n%s", err, out)
	}
	if refused := l.run("event", "list", "--action", "identity.refused"); !strings.Contains(
		refused, machine) {
		t.Errorf("that is no event:\n%s", refused)
	}
}

// launch starts an instance as an operator does by hand, and returns its ID.
func (l *lab) launch(host string) string {
	l.t.Helper()
	images, err := l.amazon().DescribeImages(l.t.Context(), &ec2.DescribeImagesInput{
		Filters: []types.Filter{{Name: aws.String("tag:understudy:image"),
			Values: []string{"trixie"}}}})
	if err != nil || len(images.Images) != 1 {
		l.t.Fatalf("the image: %v", err)
	}
	in := &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, MinCount: aws.Int32(1),
		MaxCount: aws.Int32(1), InstanceType: types.InstanceTypeT3Large,
		ClientToken: aws.String("launched by hand"),
		UserData: aws.String(base64.StdEncoding.EncodeToString([]byte("#cloud-config\nhostname: " +
			host + "\n")))}
	for _, m := range images.Images[0].BlockDeviceMappings {
		in.BlockDeviceMappings = append(in.BlockDeviceMappings, types.BlockDeviceMapping{
			DeviceName: m.DeviceName, Ebs: &types.EbsBlockDevice{
				DeleteOnTermination: aws.Bool(true)}})
	}
	out, err := l.amazon().RunInstances(l.t.Context(), in)
	if err != nil {
		l.t.Fatal(err)
	}
	return *out.Instances[0].InstanceId
}
