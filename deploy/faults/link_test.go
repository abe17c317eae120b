//go:build lab

package faults

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// link is a host's cable, cut through and joined again by this process, which can hold back or
// swallow what goes over it.
type link struct {
	l        *lab
	host     string
	veth     string // the host's end on this box
	bridge   string
	tail     string // what stands for it on the bridge
	space    *os.File
	sockets  []*os.File
	delay    atomic.Int64 // each way
	deaf     atomic.Bool  // what goes to the host is swallowed
	mute     atomic.Bool  // what comes from the host is swallowed
	swallows atomic.Int64
	wires    sync.WaitGroup
	remove   func() // joins the cable again
}

var peerIndex = regexp.MustCompile(`host0@if(\d+)`)

// splice puts a link between a host and the lab's bridge. The row has to remove it before the
// checker comes.
func (l *lab) splice(host string) *link {
	l.t.Helper()
	found := peerIndex.FindStringSubmatch(l.onNetwork(host, "ip", "-oneline", "link", "show",
		"host0"))
	if found == nil {
		l.t.Fatalf("%s has no network device with an end on this box", host)
	}
	index, _ := strconv.Atoi(found[1])
	device, err := net.InterfaceByIndex(index)
	if err != nil {
		l.t.Fatal(err)
	}
	master, err := os.Readlink("/sys/class/net/" + device.Name + "/master")
	if err != nil {
		l.t.Fatal(err)
	}
	k := &link{l: l, host: host, veth: device.Name,
		bridge: regexp.MustCompile(`[^/]+$`).FindString(master), tail: fmt.Sprintf("fl%db", index)}
	k.remove = sync.OnceFunc(k.takeOut)
	l.t.Cleanup(k.remove)
	k.putIn()
	return k
}

// putIn moves the host's end into a network of its own, in which nothing but this process touches
// what goes through it.
func (k *link) putIn() {
	k.l.t.Helper()
	if err := k.newSpace(); err != nil {
		k.l.t.Fatalf("cannot make a network: %v", err)
	}
	head := fmt.Sprintf("fl%da", device(k.tail))
	k.box("ip", "link", "add", k.tail, "type", "veth", "peer", "name", head, "netns", k.spacePath())
	k.box("ip", "link", "set", k.veth, "netns", k.spacePath())
	for _, name := range []string{k.veth, head} {
		k.inSpace("ip", "link", "set", name, "promisc", "on", "up")
	}
	k.box("ip", "link", "set", k.tail, "master", k.bridge, "up")
	toHost, toBox := k.sockets[0], k.sockets[1]
	for file, name := range map[*os.File]string{toHost: k.veth, toBox: head} {
		if err := k.bind(file, name); err != nil {
			k.l.t.Fatalf("cannot listen on %s: %v", name, err)
		}
	}
	k.wires.Go(func() { k.wire(toHost, toBox, &k.deaf) })
	k.wires.Go(func() { k.wire(toBox, toHost, &k.mute) })
}

func device(name string) (index int) {
	_, _ = fmt.Sscanf(name, "fl%d", &index)
	return index
}

func (k *link) takeOut() {
	for _, file := range k.sockets {
		file.Close()
	}
	k.wires.Wait()
	if _, err := boxCommand(context.Background(), append(k.entering(), "ip", "link", "set", k.veth,
		"netns", strconv.Itoa(os.Getpid()))...); err == nil {
		_, _ = boxCommand(context.Background(), "ip", "link", "set", k.veth, "master", k.bridge,
			"up")
	}
	_, _ = boxCommand(context.Background(), "ip", "link", "delete", k.tail)
	k.space.Close()
}

func (k *link) spacePath() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(),
		k.space.Fd())
}

func (k *link) entering() []string { return []string{"nsenter", "--net=" + k.spacePath()} }

func (k *link) box(argv ...string) {
	k.l.t.Helper()
	if out, err := boxCommand(context.Background(), argv...); err != nil {
		k.l.t.Fatalf("%v: %v: %s", argv, err, out)
	}
}

func (k *link) inSpace(argv ...string) {
	k.l.t.Helper()
	k.box(append(k.entering(), argv...)...)
}

// newSpace makes a network namespace that lives as long as this process, and two sockets in it.
func (k *link) newSpace() error {
	failed := make(chan error)
	go k.onThreadOfItsOwn(func() { failed <- k.enterSpace() })
	return <-failed
}

// onThreadOfItsOwn runs fn on a thread that ends with it, which must not be the main one.
func (k *link) onThreadOfItsOwn(fn func()) {
	runtime.LockOSThread() // and never unlocked
	if unix.Gettid() != unix.Getpid() {
		fn()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() { defer close(done); k.onThreadOfItsOwn(fn) }()
	<-done
}

func (k *link) enterSpace() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if k.space, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())); err != nil {
		return err
	}
	for range 2 {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC,
			0)
		if err != nil {
			return err
		}
		k.sockets = append(k.sockets, os.NewFile(uintptr(fd), "link"))
	}
	return nil
}

// bind listens to all that comes in at a device. Frames come and go with their offloads as the
// kernel has them.
func (k *link) bind(file *os.File, name string) error {
	index := 0
	out, err := boxCommand(context.Background(), append(k.entering(), "ip", "-oneline", "link",
		"show", name)...)
	if err != nil {
		return err
	}
	if _, err := fmt.Sscanf(out, "%d:", &index); err != nil {
		return err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		for _, option := range []int{unix.PACKET_VNET_HDR, unix.PACKET_IGNORE_OUTGOING} {
			if err = unix.SetsockoptInt(int(fd), unix.SOL_PACKET, option, 1); err != nil {
				return
			}
		}
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8
		err = unix.Bind(int(fd), &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	})
	if failed != nil {
		return failed
	}
	return err
}

type frame struct {
	due  time.Time
	data []byte
}

// wire carries frames from one socket to the other until they are closed.
func (k *link) wire(to, from *os.File, swallow *atomic.Bool) {
	frames := make(chan frame, 1<<16)
	defer close(frames)
	k.wires.Go(func() {
		for f := range frames {
			if wait := time.Until(f.due); wait > 0 {
				<-time.After(wait)
			}
			_, _ = to.Write(f.data) // a frame that cannot be sent is lost, as on any cable
		}
	})
	buffer := make([]byte, 1<<17)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if swallow.Load() {
			k.swallows.Add(1)
			continue
		}
		select {
		case frames <- frame{time.Now().Add(time.Duration(k.delay.Load())),
			append([]byte(nil), buffer[:n]...)}:
		default:
		}
	}
}

// slow holds back each frame, both ways.
func (k *link) slow(oneWay time.Duration) { k.delay.Store(int64(oneWay)) }

// silence swallows all frames: no side is told.
func (k *link) silence(toHost, fromHost bool) {
	k.deaf.Store(toHost)
	k.mute.Store(fromHost)
}

// swallowed fails the row when nothing was swallowed: then it proved nothing.
func (k *link) swallowed() {
	k.l.t.Helper()
	if k.swallows.Load() == 0 {
		k.l.t.Errorf("nothing went over the link of %s while it was silent", k.host)
	}
}

// reset ends all connections to a host's agent, on both sides, without a word to the other.
func (l *lab) reset(host string) {
	l.t.Helper()
	l.onNetwork(host, "ss", "--kill", "--tcp", "--numeric", "sport", "=", ":7443")
	address := regexp.MustCompile(`inet ([0-9.]+)/`).FindStringSubmatch(l.onNetwork(host, "ip",
		"-4", "-oneline", "address", "show", "host0"))
	if out, err := boxCommand(l.t.Context(), "ss", "--kill", "--tcp", "--numeric", "dst",
		address[1], "and", "dport", "=", ":7443"); err != nil {
		l.t.Fatalf("ss: %v: %s", err, out)
	}
}
