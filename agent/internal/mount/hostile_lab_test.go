//go:build lab

package mount_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// given are the host's own files that somebody else than root owns: who gets a unit file is root.
func given(t *testing.T) string {
	t.Helper()
	return lab.Run(t, "sh", "-c", "find /etc ! -user root -printf '%u %p\n' | sort;"+
		" stat -c '%u %a' /etc/shadow /etc /etc/systemd/system")
}

func TestALinkOnTheVolumeLeadsNowhere(t *testing.T) {
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	h.ensure(t, v, request(v))
	good := mount.BindRequest{Source: dataPath + "/mysql", Path: bindPath, Owner: "mysql"}
	if _, _, err := h.mounts.EnsureBind(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "ln", "-s", "/etc/systemd/system", dataPath+"/mysql/x")
	lab.Run(t, "ln", "-s", "/etc/systemd/system", dataPath+"/y")
	before, bound := given(t), lab.Run(t, "findmnt", "-n", "--mountpoint", bindPath)
	for _, source := range []string{"/mysql/x/ssh.service.d", "/mysql/x", "/y", "/y/z",
		"/mysql/sub", "/mysql/../../etc"} {
		_, changes, err := h.mounts.EnsureBind(t.Context(), mount.BindRequest{
			Source: dataPath + source, Path: bindPath, Owner: "mysql", Create: true})
		if !errors.Is(err, errs.FailedPrecondition) && !errors.Is(err, errs.InvalidArgument) ||
			len(changes) > 0 {
			t.Errorf("%s: %q %v", source, changes, err)
		}
	}
	if after := given(t); after != before {
		t.Error("something outside the volume has changed")
	}
	if now := lab.Run(t, "findmnt", "-n", "--mountpoint", bindPath); now != bound {
		t.Errorf("bound to %s, not to %s", now, bound)
	}
	if _, err := os.Lstat(dataPath + "/mysql/sub"); err == nil {
		t.Error("a directory was made before it was refused")
	}
}

// TestOwnersWhileNamesSwap binds again and again while MariaDB's user exchanges a directory for a
// link to the host's own.
func TestOwnersWhileNamesSwap(t *testing.T) {
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	h.ensure(t, v, request(v))
	real, link := dataPath+"/mysql/real", dataPath+"/mysql/link"
	lab.Write(t, real+"/shadow", "x")
	lab.Run(t, "ln", "-s", "/etc", link)
	lab.Run(t, "chown", "-R", "mysql:mysql", dataPath) // its root too: names may swap there
	lab.Run(t, "ln", "-s", "/etc", dataPath+"/other")
	var mysql, root syscall.Stat_t
	if err := syscall.Stat(dataPath, &mysql); err != nil {
		t.Fatal(err)
	}
	before := given(t)
	swap := exec.CommandContext(t.Context(), "setpriv", "--reuid=mysql", "--regid=mysql",
		"--clear-groups", "perl", "-e", fmt.Sprintf(`while (1) {
			for (1 .. rand 200) {
				syscall(%[1]d, -100, $_->[0], -100, $_->[1], %[2]d)
					for ["%[3]s", "%[4]s"], ["%[5]s/mysql", "%[5]s/other"]; }
			select undef, undef, undef, rand .02; } # for a bind to go through at times`,
			unix.SYS_RENAMEAT2, unix.RENAME_EXCHANGE, real, link, dataPath))
	if err := swap.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, bound := lab.Context(t), 0
	for i := 0; i < 40 || bound == 0 && ctx.Err() == nil; i++ {
		owner := []string{"mysql", "root"}[i%2]
		if _, _, err := h.mounts.EnsureBind(t.Context(), mount.BindRequest{
			Source: dataPath + "/mysql", Path: bindPath, Owner: owner}); err == nil {
			bound++
			if err := syscall.Stat(dataPath, &root); err != nil || root.Uid != 0 {
				t.Errorf("the volume's root belongs to %d: %v", root.Uid, err)
			}
			continue
		}
		// The root is root's now, and is given away again: else the link may stay where it is.
		if err := os.Lchown(dataPath, int(mysql.Uid), int(mysql.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(swap.Process.Kill(), swap.Wait()); bound == 0 ||
		!strings.Contains(err.Error(), "killed") {
		t.Errorf("bound %d times, and swapped until: %v", bound, err)
	}
	if after := given(t); after != before {
		t.Error("something outside the volume has changed its owner")
	}
}

func TestANonceThatIsNoFile(t *testing.T) {
	for name, plant := range map[string][]string{
		"fifo": {"mkfifo"}, "device": {"mknod", "-m", "666"}, "link": {"ln", "-s", "/etc/shadow"}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			v := formatted(t, "vol-1", "ext4")
			dir := t.TempDir()
			lab.Run(t, "mount", v.Device, dir)
			nonce := dir + "/.understudy/nonce"
			lab.Run(t, "rm", nonce)
			plant = append(plant, nonce)
			if name == "device" {
				plant = append(plant, "c", "1", "5")
			}
			lab.Run(t, plant...)
			lab.Run(t, "umount", dir)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := h.mounts.Ensure(ctx, request(v), nil)
			want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_NONCE_MISMATCH)
		})
	}
}

func TestAMountOfAnotherIsRestricted(t *testing.T) {
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	r := request(v)
	h.ensure(t, v, r)
	lab.Run(t, "mount", "-o", "remount,bind,suid,dev,exec,noatime", dataPath)
	result, err := h.mounts.Ensure(t.Context(), r, nil)
	if err != nil || !strings.Contains(strings.Join(result.Changes, "\n"), "nosuid,nodev,noexec") {
		t.Errorf("%q %v", result.Changes, err)
	}
	options := lab.Run(t, "findmnt", "-n", "-o", "VFS-OPTIONS", "--mountpoint", dataPath)
	for _, option := range []string{"nosuid", "nodev", "noexec", "noatime"} {
		if !strings.Contains(options, option) {
			t.Errorf("no %s in %s", option, options)
		}
	}
}
