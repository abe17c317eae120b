//go:build aws

package ec2test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2"
	"github.com/understudy-db/understudy/deploy/stack"
)

// settings are those of the test's variables; what is missing ends the test.
func settings(t *testing.T) Settings {
	t.Helper()
	s, err := ReadSettings(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	s.Target.Run = func(ctx context.Context, m provider.Machine, argv ...string) (string, error) {
		var args []string
		for _, word := range s.SSH {
			args = append(args, strings.ReplaceAll(word, addressMark, m.Address))
		}
		for _, word := range argv { // a shell on the other side reads them
			args = append(args, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
		}
		var failed strings.Builder
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stderr = &failed
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", argv[0], err, failed.String())
		}
		return string(out), err
	}
	return s
}

// TestAmazonConformance runs the suite of all providers against Amazon.
func TestAmazonConformance(t *testing.T) { Conformance(t, settings(t).Target) }

// TestAmazonStory has a control plane on this host make and remove servers at Amazon.
func TestAmazonStory(t *testing.T) {
	s := settings(t)
	bin, err := filepath.Abs("../../../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--ec2-region", s.Config.Region, "--ec2-subnets", s.Subnets,
		"--ec2-security-groups", strings.Join(s.Config.SecurityGroups, ","), "--fleet",
		s.Config.Fleet}
	if s.Config.InstanceType != "" {
		args = append(args, "--ec2-instance-type", s.Config.InstanceType)
	}
	if s.Config.Encrypt {
		args = append(args, "--ec2-encrypt", "--ec2-kms-key", s.Config.KMSKey)
	}
	st, err := stack.New(stack.Config{Bin: bin, Name: "amazon", Dir: t.TempDir(), Port: 7440,
		Host: s.Address, AmazonArgs: args,
		ExtraArgs: []string{"--advertise", s.Address + ":7440"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sweepAll(t, s.Config) })
	t.Cleanup(func() {
		if err := st.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := st.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := st.ShortStory(t.Context(), s.Image, t.Logf); err != nil {
		t.Error(err)
	}
}

// TestAmazonSwept removes what the tests made, also when one was killed.
func TestAmazonSwept(t *testing.T) {
	cfg, err := ReadFleet(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	sweepAll(t, cfg)
}

func sweepAll(t *testing.T, cfg ec2.Config) {
	t.Helper()
	p, err := ec2.New(t.Context(), cfg)
	if err == nil {
		err = Sweep(context.WithoutCancel(t.Context()), p, cfg.Fleet, amazonPoll, t.Logf)
	}
	if err != nil {
		t.Errorf("what the tests made is not all removed: %v", err)
	}
}
