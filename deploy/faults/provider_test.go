//go:build lab

package faults

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/deploy/stack"
)

// onEC2 is the provider that makes hosts through the lab's EC2 endpoint; the other one is nspawn
// itself.
const onEC2 = "ec2"

// providerName is the provider of this run.
func providerName() string {
	if os.Getenv("FAULTS_PROVIDER") == onEC2 {
		return onEC2
	}
	return "nspawn"
}

// configOf is where a lab lives, and what it runs on.
func configOf(t *testing.T, name, provider string) stack.Config {
	t.Helper()
	cfg := stack.Config{Bin: binDir(t), Name: "faults-" + name,
		Dir: filepath.Join("/var/lib/understudy-faults", name)}
	if provider == onEC2 {
		cfg.Name, cfg.Dir, cfg.Provider = cfg.Name+"-ec2", cfg.Dir+"-ec2", provider
		cfg.EndpointArgs = stack.BadDay(faultSeed(t))
	}
	return cfg
}

// faultSeed is that of the faults of a run's EC2.
func faultSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64N(1 << 32)
	if text := os.Getenv("FAULTS_SEED"); text != "" {
		given, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("FAULTS_SEED: %v", err)
		}
		seed = given
	}
	t.Logf("EC2's faults come of FAULTS_SEED=%d", seed)
	return seed
}

// overEC2 says whether the lab's hosts are made through EC2's API.
func (l *lab) overEC2() bool { return l.Config().Provider == onEC2 }

// ec2Digits are what EC2's IDs have before the lab's own.
const ec2Digits = "0ec2a"

// shownID is an ID of the lab's files as its provider shows it.
func (l *lab) shownID(id string) string {
	kind, digits, ok := strings.Cut(id, "-")
	if !ok || !l.overEC2() {
		return id
	}
	return kind + "-" + ec2Digits + digits
}

// keptID is an ID of the provider as the lab's files have it.
func (l *lab) keptID(id string) string {
	if !l.overEC2() {
		return id
	}
	return strings.Replace(id, "-"+ec2Digits, "-", 1)
}

// linkOf is the name by which a host knows a volume's device.
func (l *lab) linkOf(volume string) string {
	if l.overEC2() {
		return "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_" + strings.Replace(volume, "-", "",
			1)
	}
	return "/dev/disk/by-id/virtio-" + volume
}
