//go:build lab

package agent_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/lab"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const (
	sourceUUID = "11111111-1111-4111-8111-111111111111"
	mintedUUID = "22222222-2222-4222-8222-222222222222"
)

// mountIt asks for the mount and answers it; after so many messages of progress it calls at. An
// error is that of the cut call.
func (a *installed) mountIt(ctx context.Context, v *lab.Volume, after int,
	at func()) (*agentv1.EnsureMountResponse, error) {
	stream, err := agentv1.NewMountServiceClient(a.conn).EnsureMount(ctx,
		&agentv1.EnsureMountRequest{
			DeviceIds: []string{v.ID}, Path: "/srv/mariadb", FilesystemUuid: mintedUUID,
			SourceFilesystemUuid: sourceUUID, Grow: true,
			BoundUnits: []string{"mariadb.service"}, StopUnits: []string{"mariadb.service"},
		})
	if err != nil {
		return nil, err
	}
	for seen := 0; ; seen++ {
		m, err := stream.Recv()
		if err != nil || m.GetMount() != nil {
			return m, err
		}
		if seen == after {
			at()
		}
	}
}

func TestAnAgentThatIsKilledWhileItMounts(t *testing.T) { killedWhileItMounts(t, 1) } // C2

func TestLongAnAgentThatIsKilledEarlierOrLater(t *testing.T) { killedWhileItMounts(t, 0, 2) }

// killedWhileItMounts has the agent killed after that many messages of progress.
func killedWhileItMounts(t *testing.T, moments ...int) {
	t.Helper()
	for _, filesystem := range []string{"ext4", "xfs"} {
		for _, after := range moments {
			t.Run(fmt.Sprintf("%s after message %d", filesystem, after), func(t *testing.T) {
				a := install(t)
				v := lab.NewVolume(t, "vol-k", 320)
				if filesystem == "xfs" {
					lab.Run(t, "mkfs.xfs", "-q", "-m", "uuid="+sourceUUID, v.Device)
				} else {
					lab.Run(t, "mkfs.ext4", "-q", "-U", sourceUUID, v.Device, "128M")
				}
				t.Cleanup(forgetMounts)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				first := show(t, "InvocationID")
				_, err := a.mountIt(ctx, v, after,
					func() { lab.Try("systemctl", "kill", "-s", "KILL", unitName) })
				if err == nil {
					t.Fatal("it was done before it was killed")
				}
				lab.Eventually(t, time.Minute, "the agent is back",
					func() bool {
						return show(t, "InvocationID") != first &&
							show(t, "ActiveState") == "active"
					})
				m, err := a.mountIt(ctx, v, -1, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := m.GetMount(); got.GetUuid() != mintedUUID ||
					got.GetDevice() != v.Device || !got.GetEnabled() {
					t.Errorf("mount = %v", got)
				}
				if again, err := a.mountIt(ctx, v, -1, nil); err != nil ||
					len(again.GetChanges()) != 0 {
					t.Errorf("again: %v, %v", again.GetChanges(), err)
				}
			})
		}
	}
}

// forgetMounts takes away what the agent made of the host.
func forgetMounts() {
	lab.Try("systemctl", "stop", "mariadb.service", "srv-mariadb.mount")
	for unix.Unmount("/srv/mariadb", unix.MNT_DETACH) == nil {
	}
	for _, file := range []string{"srv-mariadb.mount", "multi-user.target.wants/srv-mariadb.mount",
		"mariadb.service.d/understudy.conf"} {
		os.Remove("/etc/systemd/system/" + file)
	}
	lab.Try("systemctl", "daemon-reload")
	lab.Try("systemctl", "reset-failed")
}
