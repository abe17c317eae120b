//go:build vm

package vm

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// slow is how long anything may take: an emulated processor boots in minutes.
const slow = 15 * time.Minute

// machine is a virtual machine of one processor. Its disks outlive its power.
type machine struct {
	name, dir, image string
	number           int
	base             string    // of its clock, as QEMU takes it; "" is this box's
	volumes          []*volume // what is plugged in, in the order that it boots with
	rootLast         bool      // its own disk comes after them

	cmd     *exec.Cmd
	exited  chan struct{}
	monitor *channel
	guest   *channel
}

// volume is a disk that machines are given: a raw file.
type volume struct {
	serial, path string
	scsi         bool
}

// device is the name that Linux gives it below /dev/disk/by-id.
func (v *volume) device() string {
	if v.scsi {
		return "scsi-0QEMU_QEMU_HARDDISK_" + v.serial
	}
	return "virtio-" + v.serial
}

func (m *machine) address() string         { return fmt.Sprint(network, m.number) }
func (m *machine) path(name string) string { return filepath.Join(m.dir, m.name+"."+name) }

// newMachine makes a machine that is off, with a disk of its own on top of the image's. It ends
// with the whole test.
func newMachine(t, whole *testing.T, dir, name string, number int) *machine {
	t.Helper()
	image := os.Getenv("VM_IMAGE")
	if image == "" {
		t.Fatal("VM_IMAGE is not set: `make test-vm` sets it")
	}
	m := &machine{name: name, dir: dir, image: image, number: number}
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
		filepath.Join(image, "disk.raw"), m.path("qcow2")).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	tap := fmt.Sprint("tap", number)
	if err := ip("tuntap add "+tap+" mode tap",
		"link set "+tap+" master "+bridge+" up"); err != nil {
		t.Fatal(err)
	}
	whole.Cleanup(func() {
		if whole.Failed() {
			out, _ := os.ReadFile(m.path("console"))
			whole.Logf("the end of the console of %s:\n%s", name, tail(string(out), 30))
		}
		m.losePower()
		if err := ip("link delete " + tap); err != nil {
			whole.Error(err)
		}
	})
	return m
}

// args are QEMU's. What the guest has not written to its disks is lost with its power: that is in
// its own memory. What it has written is in this box's, which does not lose power.
func (m *machine) args() []string {
	clock := "base=utc"
	if m.base != "" {
		clock = "base=" + m.base
	}
	args := []string{"-n", "10", "qemu-system-x86_64", "-name", m.name, "-nodefaults",
		"-no-user-config", "-display", "none", "-machine", "pc", "-accel", accelerator(),
		"-cpu", "max", "-smp", "1", "-m", "640", "-rtc", clock,
		"-kernel", filepath.Join(m.image, "vmlinuz"),
		"-initrd", filepath.Join(m.image, "initrd.img"),
		"-append", fmt.Sprintf("root=LABEL=vm-root rw console=ttyS0 net.ifnames=0 mitigations=off "+
			"systemd.show_status=0 systemd.hostname=%s "+
			"systemd.set_credential_binary=network.network.50-eth0:%s", m.name,
			base64.StdEncoding.EncodeToString(fmt.Appendf(nil,
				"[Match]\nName=eth0\n[Network]\nAddress=%s/24\n", m.address()))),
		"-serial", "file:" + m.path("console"),
		"-netdev", fmt.Sprintf("tap,id=net,ifname=tap%d,script=no,downscript=no", m.number),
		"-device", fmt.Sprintf("virtio-net-pci,netdev=net,romfile=,mac=52:54:00:77:00:%02x",
			m.number),
		"-device", "virtio-scsi-pci,id=scsi",
		"-device", "virtio-serial", "-device", "virtserialport,chardev=guest," +
			"name=org.qemu.guest_agent.0",
		"-chardev", "socket,id=guest,server=on,wait=off,path=" + m.path("guest"),
		"-qmp", "unix:" + m.path("monitor") + ",server=on,wait=off",
		"-blockdev", "driver=qcow2,node-name=disk-root,cache.no-flush=on,file.driver=file," +
			"file.filename=" + m.path("qcow2")}
	root := []string{"-device", "virtio-blk-pci,drive=disk-root,serial=root"}
	if !m.rootLast {
		args = append(args, root...)
	}
	for _, v := range m.volumes {
		args = append(args, "-blockdev", fmt.Sprintf("driver=raw,node-name=disk-%s,"+
			"cache.no-flush=on,file.driver=file,file.filename=%s", v.serial, v.path),
			"-device", fmt.Sprintf("%s,id=%[2]s,serial=%[2]s,drive=disk-%[2]s", v.driver(),
				v.serial))
	}
	if m.rootLast {
		args = append(args, root...)
	}
	return args
}

// accelerator is KVM where the processor has what it needs: the device alone says nothing.
func accelerator() string {
	processor, _ := os.ReadFile("/proc/cpuinfo")
	if _, err := os.Stat("/dev/kvm"); err == nil &&
		regexp.MustCompile(`(?m)^flags\s.* (vmx|svm) `).Match(processor) {
		return "kvm"
	}
	return "tcg,tb-size=256"
}

func (v *volume) driver() string {
	if v.scsi {
		return "scsi-hd,bus=scsi.0"
	}
	return "virtio-blk-pci"
}

// power switches the machine on and waits until its guest answers.
func (m *machine) power(t *testing.T) {
	t.Helper()
	begin := time.Now()
	for _, socket := range []string{"guest", "monitor"} {
		_ = os.Remove(m.path(socket))
	}
	cmd := exec.Command("nice", m.args()...)
	log, err := os.Create(m.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.cmd, m.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) { _ = cmd.Wait(); close(exited) }(m.exited)
	await(t, m.name+" has a monitor", func() bool {
		select {
		case <-m.exited:
			out, _ := os.ReadFile(m.path("log"))
			t.Fatalf("QEMU ended: %s", out)
		default:
		}
		m.monitor, err = dial(t.Context(), m.path("monitor"))
		return err == nil
	})
	if err := m.monitor.call(t.Context(), "qmp_capabilities", nil, nil); err != nil {
		t.Fatal(err)
	}
	m.awaitGuest(t)
	t.Logf("%s booted in %s", m.name, time.Since(begin).Round(time.Second))
}

// losePower ends QEMU in the midst of what it does.
func (m *machine) losePower() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		m.awaitOff()
	}
}

func (m *machine) awaitOff() {
	<-m.exited
	m.cmd = nil
	m.monitor.close()
	m.guest.close()
}

// powerOff shuts the machine down as its guest does it.
func (m *machine) powerOff(t *testing.T) {
	t.Helper()
	_, _ = m.try(t.Context(), "systemctl poweroff --no-block")
	select {
	case <-m.exited:
	case <-time.After(slow):
		t.Fatalf("%s does not switch itself off", m.name)
	}
	m.awaitOff()
}

// plug gives the running machine a volume.
func (m *machine) plug(t *testing.T, v *volume) {
	t.Helper()
	disk := map[string]any{"driver": "raw", "node-name": "disk-" + v.serial,
		"cache": map[string]any{"no-flush": true},
		"file":  map[string]any{"driver": "file", "filename": v.path}}
	device := map[string]any{"driver": "virtio-blk-pci", "id": v.serial, "serial": v.serial,
		"drive": "disk-" + v.serial}
	if v.scsi {
		device["driver"], device["bus"] = "scsi-hd", "scsi.0"
	}
	err := m.monitor.call(t.Context(), "blockdev-add", disk, nil)
	if err == nil {
		err = m.monitor.call(t.Context(), "device_add", device, nil)
	}
	if err != nil {
		t.Fatalf("cannot plug %s into %s: %v", v.serial, m.name, err)
	}
	m.volumes = append(m.volumes, v)
}

// pull takes a volume from the running machine, whatever the guest does with it.
func (m *machine) pull(t *testing.T, v *volume) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), slow)
	defer cancel()
	err := m.monitor.call(ctx, "device_del", map[string]any{"id": v.serial}, nil)
	if err == nil {
		err = m.monitor.await(ctx, "DEVICE_DELETED", v.serial)
	}
	if err == nil {
		err = m.monitor.call(ctx, "blockdev-del", map[string]any{"node-name": "disk-" + v.serial},
			nil)
	}
	if err != nil {
		t.Fatalf("cannot pull %s from %s: %v", v.serial, m.name, err)
	}
	m.volumes = slices.DeleteFunc(m.volumes, func(has *volume) bool { return has == v })
}
