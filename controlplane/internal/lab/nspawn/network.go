package nspawn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	// labsNetwork is cut into one /24 for each lab of the box.
	labsNetwork = "10.213.%d.0/24"
	// maxMachines is what a /24 holds beside network, host and broadcast.
	maxMachines  = 250
	firstOrdinal = 2
	netnsDir     = "/run/netns"
	// allLabsLock is held while a subnet is chosen, as the bridges are the record of
	// which ones are taken.
	allLabsLock = "/run/understudy-labs.lock"
)

// ensureBridge makes the lab's bridge and gives the host the first address on it. It
// chooses the subnet when the lab has none yet.
func (l lab) ensureBridge(ctx context.Context, record *labRecord) error {
	unlock, err := lockFile(ctx, allLabsLock)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.checkName(ctx); err != nil {
		return err
	}
	if record.Subnet == "" {
		if record.Subnet, err = l.chooseSubnet(); err != nil {
			return err
		}
		if err := writeJSON(l.path("lab.json"), record); err != nil {
			return err
		}
	}
	return l.makeBridge(ctx, record.Subnet)
}

func hasInterface(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// checkName refuses the name of a lab that is up in another directory: its bridge carries
// the directory as its alias.
func (l lab) checkName(ctx context.Context) error {
	if !hasInterface(l.bridge()) {
		return nil
	}
	out, err := tool(ctx, "", "ip", "-json", "link", "show", "dev", l.bridge())
	if err != nil && !hasInterface(l.bridge()) {
		return nil // what a killed process had begun took it away just now
	}
	if err != nil {
		return err
	}
	var links []struct{ IfAlias string }
	if err := json.Unmarshal([]byte(out), &links); err != nil {
		return fmt.Errorf("cannot read the owner of bridge %s: %w", l.bridge(), err)
	}
	for _, link := range links {
		if link.IfAlias != "" && link.IfAlias != l.dir {
			return provider.InUse("", link.IfAlias, "lab name %s is used by the lab in %s: "+
				"choose another name, or take that one down", l.name, link.IfAlias)
		}
	}
	return nil
}

func (l lab) makeBridge(ctx context.Context, subnet string) error {
	bridge, address := l.bridge(), hostAddress(subnet)+"/24"
	if !hasInterface(bridge) {
		// What a killed process had begun may make it just now.
		if _, err := tool(ctx, "", "ip", "link", "add", bridge, "type", "bridge", "forward_delay",
			"0", "stp_state", "0"); err != nil && !hasInterface(bridge) {
			return err
		}
	}
	batch := fmt.Sprintf("link set dev %[1]s alias %[2]s\naddress replace %[3]s dev %[1]s\nlink "+
		"set dev %[1]s up\n", bridge, l.dir, address)
	_, err := tool(ctx, batch, "ip", "-batch", "-")
	return err
}

// chooseSubnet takes the first /24 that no interface of the box has, beginning at one
// that depends on the name, so that a lab tends to keep its addresses.
func (l lab) chooseSubnet() (string, error) {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	h := fnv.New32a()
	h.Write([]byte(l.name))
	for i := range uint32(256) {
		subnet := fmt.Sprintf(labsNetwork, (h.Sum32()+i)%256)
		if !overlaps(netip.MustParsePrefix(subnet), taken) {
			return subnet, nil
		}
	}
	return "", provider.Errorf(provider.ErrLimitExceeded, "",
		"no free subnet left in 10.213.0.0/16: take other labs down")
}

func overlaps(subnet netip.Prefix, taken []net.Addr) bool {
	for _, address := range taken {
		if other, err := netip.ParsePrefix(address.String()); err == nil &&
			other.Masked().Overlaps(subnet) {
			return true
		}
	}
	return false
}

func hostAddress(subnet string) string        { return nthAddress(subnet, 1) }
func nthAddress(subnet string, n int) string  { return fmt.Sprintf("%s.%d", firstThree(subnet), n) }
func firstThree(subnet string) string         { return subnet[:strings.LastIndexByte(subnet, '.')] }
func (l lab) netnsPath(machine string) string { return filepath.Join(netnsDir, l.netns(machine)) }

// makeNetwork gives a machine that is off a fresh network namespace with its address.
func (l lab) makeNetwork(ctx context.Context, m *machineRecord) error {
	if err := l.removeNetwork(ctx, m.ID, m.Ordinal); err != nil {
		return err
	}
	ns, veth := l.netns(m.ID), l.veth(m.Ordinal)
	if _, err := tool(ctx, "", "ip", "netns", "add", ns); err != nil {
		return err
	}
	outside := fmt.Sprintf(
		"link add %s type veth peer name host0 netns %s\nlink set %s master %s up\n", veth, ns,
		veth, l.bridge())
	if _, err := tool(ctx, outside, "ip", "-batch", "-"); err != nil {
		return err
	}
	inside := fmt.Sprintf("address add %s/24 dev host0\nlink set lo up\nlink set host0 up\n",
		m.Address)
	for _, address := range m.Loopback {
		inside += fmt.Sprintf("address add %s dev lo\n", address)
	}
	_, err := tool(ctx, inside, "ip", "-n", ns, "-batch", "-")
	return err
}

// removeNetwork removes whatever part of a machine's network is there.
func (l lab) removeNetwork(ctx context.Context, machine string, ordinal int) error {
	var errs []error
	if veth := l.veth(ordinal); hasInterface(veth) {
		errs = append(errs, deleteInterface(ctx, veth))
	}
	return errors.Join(append(errs, removeNetns(l.netnsPath(machine)))...)
}

// removeNetns also removes one whose mount was never made.
func removeNetns(path string) error {
	if err := unmountBelow(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
