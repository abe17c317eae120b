package ec2test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2"
)

var complete = map[string]string{varRegion: "eu-central-1", varImage: "mariadb",
	varSubnets: "eu-central-1a=subnet-1,eu-central-1b=subnet-2", varGroups: "sg-1,sg-2",
	varAddress: "10.0.0.10", varSSH: "ssh admin@{address} sudo"}

func TestSettingsThatAreMissingAreNamed(t *testing.T) {
	t.Parallel()
	s, err := ReadSettings(func(name string) string { return complete[name] })
	if err != nil || s.OtherZone != "eu-central-1b" || len(s.Config.SecurityGroups) != 2 ||
		s.Config.Subnets["eu-central-1a"] != "subnet-1" || s.Config.Fleet != fleetPrefix {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = ReadSettings(func(string) string { return "" })
	for name := range complete {
		if err == nil || !strings.Contains(err.Error(), name+" is needed") {
			t.Errorf("%s is not in %v", name, err)
		}
	}
	for name, bad := range map[string]string{varSubnets: "subnet-1", varSSH: "ssh admin@db1",
		varFleet: "default"} {
		_, err := ReadSettings(func(asked string) string {
			if asked == name {
				return bad
			}
			return complete[asked]
		})
		if err == nil ||
			!strings.Contains(err.Error(), bad) && !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, bad, err)
		}
	}
}

// What a sweep needs is less than what a test does.
func TestSweepNeedsRegionAndFleet(t *testing.T) {
	t.Parallel()
	cfg, err := ReadFleet(func(name string) string {
		return map[string]string{varRegion: "eu-central-1"}[name]
	})
	if err != nil || cfg.Region != "eu-central-1" || cfg.Fleet != fleetPrefix {
		t.Errorf("%+v, %v", cfg, err)
	}
}

// A sweep removes what a run left that was killed, and nothing of any other fleet.
func TestSweepRemovesItsOwnFleetAlone(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", ec2lab.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	const image = "mariadb"
	server, err := ec2lab.New(ec2lab.Config{Lab: ec2lab.NewMemory(provider.Image{Name: image,
		Ready: true, DefaultVolume: &provider.DefaultVolume{SizeBytes: 1 << 30}})})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(server)
	t.Cleanup(front.Close)
	of := func(fleet string) *ec2.Provider {
		p, err := ec2.New(t.Context(), ec2.Config{Region: ec2lab.Region, Endpoint: front.URL,
			Subnets: ec2lab.Subnets(), Fleet: fleet, Consistency: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	ours := of(fleetPrefix)
	for fleet, p := range map[string]*ec2.Provider{fleetPrefix: ours, "default": of("default")} {
		m, err := p.CreateMachine(t.Context(), provider.CreateMachineRequest{
			ClientToken: "m" + fleet, Name: "db1", Image: image})
		if err != nil {
			t.Fatal(err)
		}
		var volumes []string
		for _, name := range []string{"attached", "free"} {
			v, err := p.CreateVolume(t.Context(), provider.CreateVolumeRequest{
				ClientToken: name + fleet, SizeBytes: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			volumes = append(volumes, v.ID)
		}
		if _, err := p.AttachVolume(t.Context(), volumes[0], m.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := p.CreateSnapshot(t.Context(),
			provider.CreateSnapshotRequest{VolumeID: volumes[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(t.Context(), ours, "default", time.Millisecond, t.Logf); err == nil {
		t.Error("a fleet that is somebody's is swept")
	}
	if err := Sweep(t.Context(), ours, fleetPrefix, time.Millisecond, t.Logf); err != nil {
		t.Fatal(err)
	}
	for fleet, want := range map[string]int{fleetPrefix: 0, "default": 1} {
		p := of(fleet)
		machines, err := p.ListMachines(t.Context(), provider.Filter{})
		running := 0
		for _, m := range machines {
			if m.State == provider.MachineRunning {
				running++
			}
		}
		volumes, err2 := p.ListVolumes(t.Context(), provider.Filter{})
		snapshots, err3 := p.ListSnapshots(t.Context(), provider.Filter{})
		if err := errors.Join(err, err2, err3); err != nil || running != want ||
			len(volumes) != 3*want || len(snapshots) != want {
			t.Errorf("fleet %s has %d machines, %v, %v, %v", fleet, running, volumes, snapshots,
				err)
		}
	}
}
