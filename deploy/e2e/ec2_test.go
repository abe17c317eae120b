//go:build lab

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newEC2(t *testing.T, name string, seed uint64) *lab {
	t.Helper()
	return newLabOf(t, stack.Config{Name: "ec2-" + name,
		Dir: filepath.Join("/var/lib/understudy-e2e", "ec2-"+name), Provider: "ec2",
		EndpointArgs: stack.BadDay(seed)})
}

// TestStoryOnEC2 walks the road that broke on the API that it broke on: an instance boots with the
// data volume of its AMI, which is swapped for the snapshot's, while EC2 misbehaves.
func TestStoryOnEC2(t *testing.T) {
	t.Parallel()
	l := newEC2(t, "story", 7)
	strangers := l.strangers(t)
	l.run("server", "create", "db1", "--image", "trixie")
	l.writer("db1")
	l.run("snapshot", "create", "db1")
	l.run("replica", "create", "db2", "--from", l.snapshot().GetName(), "--image", "trixie-masked",
		"--verify", "full")

	if s := l.server("db2"); s.GetState() != cpv1.Server_STATE_READY {
		t.Errorf("the replica is %s", s.GetState())
	}
	l.same("db1", "db2")
	if n := l.starts("db2"); n != 1 {
		t.Errorf("MariaDB was started %d times, not once", n)
	}
	volume := l.server("db2").GetDataVolume()
	serial := "nvme-Amazon_Elastic_Block_Store_" + strings.Replace(volume, "-", "", 1)
	if units := l.exec("db2", "grep", "-rh", "^What=",
		"/etc/systemd/system/srv-mariadb.mount"); !strings.HasPrefix(units,
		"What=/dev/disk/by-id/"+serial) {
		t.Errorf("the mount unit says %s, not %s", units, serial)
	}
	if links := strings.Fields(l.exec("db2", "ls", "/dev/disk/by-id")); len(links) != 1 ||
		links[0] != serial {
		t.Errorf("the host has the devices %v", links)
	}
	l.checkOwned(t)
	l.checkStrangers(t, strangers)
	l.checkPolicy(t)
	if out := l.run("provider", "sweep"); !strings.Contains(out, "nothing") {
		t.Errorf("something was left behind:\n%s", out)
	}
}

// checkPolicy proves that all of it was done under the policy: the control plane's key may not make
// what is not its fleet's.
func (l *lab) checkPolicy(t *testing.T) {
	t.Helper()
	awaitTrue(t, time.Minute, "EC2 refuses the control plane what its policy does not allow",
		func() bool {
			_, err := l.amazonAs(l.Endpoint().AccessKey).CreateVolume(t.Context(),
				&ec2.CreateVolumeInput{DryRun: aws.Bool(true), Size: aws.Int32(1),
					AvailabilityZone: aws.String("eu-lab-1a")})
			return err != nil && strings.Contains(err.Error(), "UnauthorizedOperation")
		})
}

// TestLongShortStoryOnEC2 is what `make test-aws` walks at Amazon.
func TestLongShortStoryOnEC2(t *testing.T) {
	t.Parallel()
	l := newEC2(t, "short", 3)
	if err := l.ShortStory(t.Context(), "trixie", t.Logf); err != nil {
		t.Error(err)
	}
}

// unknownJob is one that this control plane has not on record.
const unknownJob = "a job of nobody"

// jobs is how many jobs run with random faults: a few in each run of the tests, a hundred with
// `make test-ec2`.
func jobs(t *testing.T) int {
	text := os.Getenv("EC2_JOBS")
	if text == "" {
		return 6
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("EC2_JOBS: %v", err)
	}
	return n
}

// TestLongManyJobs runs jobs one after the other while EC2 misbehaves at random and the control
// plane is killed now and then. Then nothing is without an owner, nothing was made twice, and no
// stranger's thing was touched.
func TestLongManyJobs(t *testing.T) {
	t.Parallel()
	l := newEC2(t, "hundred", 11)
	strangers := l.strangers(t)
	l.run("server", "create", "db1", "--image", "trixie")
	dice := rand.New(rand.NewPCG(1, 2))
	for i := range jobs(t) {
		switch n := dice.IntN(20); {
		case n == 0:
			_, _ = l.try("replica", "create", fmt.Sprintf("r%d", i), "--of", "db1", "--image",
				"trixie-masked")
			_, _ = l.try("server", "delete", fmt.Sprintf("r%d", i), "--yes")
		case n < 5:
			l.killedJob(dice)
		default:
			_, _ = l.try("snapshot", "create", "db1")
		}
		l.settleAll(t)
	}
	l.run("provider", "sweep", "--remove")
	awaitTrue(t, 3*time.Minute, "all is swept", func() bool {
		out, err := l.try("provider", "sweep", "--remove")
		return err == nil && strings.Contains(out, "nothing")
	})
	l.checkOwned(t)
	l.checkStrangers(t, strangers)
}

// killedJob kills the control plane somewhere in a job, and starts it again.
func (l *lab) killedJob(dice *rand.Rand) {
	l.t.Helper()
	_, _ = l.try("snapshot", "create", "db1", "--detach")
	// the moment is what is random
	timer := time.NewTimer(time.Duration(dice.IntN(3000)) * time.Millisecond)
	<-timer.C
	l.Kill()
	l.start()
}

// settleAll waits until no job is under way, and cleans up those that failed.
func (l *lab) settleAll(t *testing.T) {
	t.Helper()
	client := cpv1.NewJobServiceClient(l.conn)
	awaitTrue(t, 3*time.Minute, "no job is under way", func() bool {
		list, err := client.ListJobs(t.Context(), &cpv1.ListJobsRequest{PageSize: 20})
		if err != nil {
			return false
		}
		for _, j := range list.GetJobs() {
			switch j.GetState() {
			case cpv1.Job_STATE_SUCCEEDED, cpv1.Job_STATE_CANCELLED, cpv1.Job_STATE_FAILED:
			default:
				return false
			}
		}
		return true
	})
}

// checkOwned proves that every object of the fleet has an owner, and that no step made two of a
// kind.
func (l *lab) checkOwned(t *testing.T) {
	t.Helper()
	made := map[string]string{}
	for _, kind := range []string{"machine", "volume", "snapshot"} {
		for _, o := range l.objects(kind) {
			if o.GetTags()["understudy:job"] == unknownJob {
				continue // a stranger's with our fleet's name
			}
			if o.GetOwner() == "" && o.GetState() != "deleting" && o.GetState() != "stopping" {
				t.Errorf("%s %s has no owner: %v", kind, o.GetId(), o.GetTags())
			}
			key := kind + " " + o.GetTags()["understudy:step"] + " " +
				o.GetTags()["understudy:role"]
			if first := made[key]; first != "" {
				t.Errorf("%s and %s were made by one step: %s", first, o.GetId(), key)
			}
			made[key] = o.GetId()
		}
	}
}

// amazon is the SDK's client at the lab's endpoint, for what others do in the account.
func (l *lab) amazon() *ec2.Client { return l.amazonAs(l.Endpoint().AdminKey) }

func (l *lab) amazonAs(key string) *ec2.Client {
	at := l.Endpoint()
	return ec2.New(ec2.Options{Region: at.Region, BaseEndpoint: aws.String(at.URL),
		Credentials: credentials.NewStaticCredentialsProvider(key, "any", "")})
}

// strangers makes volumes that are not this fleet's: without tags, and with those of another
// control plane.
func (l *lab) strangers(t *testing.T) []string {
	t.Helper()
	var ids []string
	for i, tags := range [][]types.Tag{nil,
		{{Key: aws.String("understudy:fleet"), Value: aws.String("other")},
			{Key: aws.String("understudy:job"), Value: aws.String("x")}},
		{{Key: aws.String("understudy:fleet"), Value: aws.String("default")},
			{Key: aws.String("understudy:job"), Value: aws.String(unknownJob)}}} {
		in := &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-lab-1a"), Size: aws.Int32(1),
			VolumeType: types.VolumeTypeGp3, ClientToken: aws.String(fmt.Sprint("stranger", i))}
		if tags != nil {
			in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeVolume,
				Tags: tags}}
		}
		out, err := l.amazon().CreateVolume(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *out.VolumeId)
	}
	return ids
}

func (l *lab) checkStrangers(t *testing.T, ids []string) {
	t.Helper()
	out, err := l.amazon().DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{VolumeIds: ids})
	if err != nil || len(out.Volumes) != len(ids) {
		t.Fatalf("strangers' volumes: %v", err)
	}
	for _, v := range out.Volumes {
		if v.State != types.VolumeStateAvailable {
			t.Errorf("stranger's volume %s is %s", *v.VolumeId, v.State)
		}
	}
}
