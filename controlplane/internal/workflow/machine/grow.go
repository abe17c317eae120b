package machine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// KindGrowServer makes the data volume of a server larger, while MariaDB serves.
const KindGrowServer = "grow_server"

// GrowArgs are what a growth is asked for with.
type GrowArgs struct {
	Server    string `json:"server"`
	SizeBytes int64  `json:"size_bytes"`
	// Volume is the id of the record of the data volume: another one, of a later server of the
	// name or of a rebuild, is left alone.
	Volume string `json:"volume"`
}

// Kind is grow_server.
func (GrowArgs) Kind() string { return KindGrowServer }

// Resolve finds the data volume, and refuses to make it smaller.
func (a GrowArgs) Resolve(ctx context.Context, k *kit.Kit, _ string) (kit.Args, error) {
	var wrong errs.Fields
	wrong.Require("name", a.Server != "", "a server is needed")
	wrong.Require("size_bytes", a.SizeBytes > 0, "a size is needed")
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	srv, err := k.Record(ctx, a.Server)
	if err != nil || srv.DataVolume == "" {
		return a, err
	}
	a.Volume = srv.DataVolume
	vol, err := k.Volume(ctx, a.Volume)
	if err != nil {
		return nil, err
	}
	wrong = errs.Fields{}
	wrong.Require("size_bytes", a.SizeBytes >= vol.SizeBytes, fmt.Sprintf("must be at least %s: "+
		"the volume has that, and never shrinks", kit.Size(vol.SizeBytes)))
	return a, wrong.Err()
}

// Check refuses a server without an agent or without a data volume.
func (a GrowArgs) Check(ctx context.Context, k *kit.Kit) error {
	srv, err := k.Record(ctx, a.Server)
	if err != nil {
		return err
	}
	if a.Volume == "" {
		return kit.Refuse(errorsv1.Reason_REASON_DEVICE_MISSING,
			kit.Hint("wait until it has one", kit.GetServer(srv.Name)),
			"%s has no data volume on record", srv.Name)
	}
	return srv.HasAgent()
}

// Title is what the job is for.
func (a GrowArgs) Title() string {
	return "grow the volume of " + a.Server + " to " + kit.Size(a.SizeBytes)
}

// Subjects are the server, and its snapshots: while one is taken the filesystem is frozen.
func (a GrowArgs) Subjects() []string {
	return []string{inventory.ServerSubject(a.Server), inventory.SnapshottingSubject(a.Server)}
}

// GrowServer is the kind. Nothing stops, and what is done is never undone: a volume does not
// shrink. A job that ends early leaves a volume that is larger than its filesystem, which does no
// harm, and which the same request completes.
func GrowServer() kit.Kind {
	return kit.Kind{Name: KindGrowServer, Title: "grow the volume of a server",
		Decode: kit.Decode[GrowArgs],
		Steps: []kit.Step{
			{Name: "check", Title: "the filesystem is on the server's volume, and can grow there",
				Run: kit.Typed(checkGrow), DryRun: kit.DryTyped(dryGrow)},
			{Name: "grow_volume", Title: "the volume has the size at the provider",
				Run: kit.Typed(growVolume), DryRun: kit.DryTyped(dryGrowVolume),
				Timeout: time.Hour, OperatorTimeout: kit.OperatorTime},
			{Name: "await_device", Title: "the kernel of the host sees the size",
				Run: kit.Typed(awaitDevice), Timeout: 15 * time.Minute,
				OperatorTimeout: kit.OperatorTime},
			{Name: "grow_filesystem", Title: "the filesystem fills the volume",
				Run: kit.Typed(growFilesystem), DryRun: kit.DryTyped(dryGrowFilesystem),
				Attempt: 15 * time.Minute, Timeout: time.Hour},
			{Name: "finish", Title: "the record says so", Run: kit.Typed(finishGrow)},
		}}
}

// growing is one call of a step that grows a volume: the server, and the volume's device on it.
type growing struct {
	*host.Host
	device kit.BlockDevice
	data   kit.Mount
}

// openGrow observes the volume, its device and the filesystem on it. It refuses what cannot grow.
// MariaDB need not answer: a full volume is why many grow.
func openGrow(ctx context.Context, c *kit.Call, a GrowArgs) (*growing, error) {
	srv, err := c.Record(ctx, a.Server)
	if err != nil {
		return nil, err
	}
	if srv.DataVolume != a.Volume {
		return nil, inventory.NotFound(errs.WithHint("ask again for the volume that it has now",
			growTo(a.Server, a.SizeBytes)), "the volume of the job is not the one of %s any more",
			srv.Name)
	}
	if err := srv.HasAgent(); err != nil {
		return nil, err
	}
	h, err := host.Observe(ctx, c, a.Server)
	if err != nil {
		return nil, err
	}
	g := &growing{Host: h}
	devices, err := h.Agent.BlockDevices(ctx)
	if err != nil {
		return nil, err
	}
	names := c.Provider.DeviceNames(h.At.ID)
	i := slices.IndexFunc(devices, func(d kit.BlockDevice) bool {
		return kit.Overlap(d.IDs, names)
	})
	if i < 0 {
		return nil, kit.Refuse(errorsv1.Reason_REASON_DEVICE_MISSING,
			kit.Hint("see what is attached there (`lsblk` on the host)", kit.RetryThis()),
			"the host of %s does not see its volume %s", srv.Name, h.At.ID)
	}
	g.device = devices[i]
	if err := g.direct(); err != nil {
		return nil, err
	}
	g.data, err = h.Agent.Mount(ctx, kit.DataMount)
	return g, err
}

// direct refuses a filesystem that does not grow with its volume: there is something between.
func (g *growing) direct() error {
	const word = "grow the volume at the provider, then %s and the filesystem on the host by hand"
	switch fs := g.device.Filesystem; {
	case fs == "LVM2_member":
		return kit.Refuse(errorsv1.Reason_REASON_FILESYSTEM_MISSING,
			kit.Hint(fmt.Sprintf(word, "the physical volume, the logical volume (`pvresize`, "+
				"`lvextend`)")),
			"volume %s of %s (%s) is a physical volume of LVM: only a filesystem right on a "+
				"volume is grown", g.At.ID, g.Srv.Name, g.device.Path)
	case !slices.Contains(g.device.MountPoints, kit.DataMount):
		return kit.Refuse(errorsv1.Reason_REASON_NOT_MOUNTED,
			kit.Hint(fmt.Sprintf(word, "its partition (`growpart`)")+
				"; where nothing is mounted at "+kit.DataMount+", mount the volume first"),
			"what is mounted at %s on %s is not right on volume %s (%s), but on a partition of "+
				"it, or elsewhere", kit.DataMount, g.Srv.Name, g.At.ID, g.device.Path)
	case fs != "ext4" && fs != "xfs":
		return kit.Refuse(errorsv1.Reason_REASON_FILESYSTEM_MISSING,
			kit.Hint("move its data to a volume with ext4 or xfs"),
			"the filesystem of %s is %q, and ext4 and xfs are grown", g.Srv.Name, fs)
	}
	return nil
}

func (g *growing) found() {
	g.Found("volume %s has %s, %s on the host has %s, and its %s %s", g.At.ID,
		kit.Size(g.At.SizeBytes), g.device.Path, kit.Size(g.device.SizeBytes), g.device.Filesystem,
		kit.Size(g.data.SizeBytes))
}

func checkGrow(ctx context.Context, c *kit.Call, a GrowArgs) (kit.Outcome, error) {
	g, err := openGrow(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	g.found()
	return kit.Done(nil)
}

func dryGrow(ctx context.Context, c *kit.Call, _ *kit.Preview, a GrowArgs) ([]string, error) {
	g, err := openGrow(ctx, c, a)
	if err == nil {
		g.found()
	}
	return nil, err
}

// growVolume has the provider make the volume larger, and waits until it shows the size. A growth
// that an earlier attempt asked for is found by the size.
func growVolume(ctx context.Context, c *kit.Call, a GrowArgs) (kit.Outcome, error) {
	g, err := openGrow(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	_, manual := c.OperatorCopyTime()
	if manual && g.At.Reason != "" && g.At.SizeBytes >= a.SizeBytes { // shown before it is done
		return c.Again("%s", g.At.Reason)
	}
	if g.At.SizeBytes >= a.SizeBytes {
		g.Found("volume %s has %s", g.At.ID, kit.Size(g.At.SizeBytes))
		return kit.Done(nil)
	}
	if kept, _ := c.Kept(keptGrowth); kept == (growth{g.At.ID, a.SizeBytes}) {
		return c.Again("volume %s is growing", g.At.ID)
	}
	if err := c.Prove(ctx); err != nil {
		return kit.Outcome{}, err
	}
	_, err = c.Provider.GrowVolume(ctx, g.At.ID, a.SizeBytes)
	if errors.Is(err, provider.ErrIncorrectState) || errors.Is(err, provider.ErrLimitExceeded) {
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_PROVIDER_ERROR,
			kit.Hint("wait as long as the text says; the server goes on meanwhile",
				kit.RetryThis()), "volume %s of %s cannot grow now: %v", g.At.ID, a.Server, err)
	}
	if err != nil {
		return kit.Outcome{}, fmt.Errorf("cannot grow volume %s of %s: %w", g.At.ID, a.Server, err)
	}
	c.Keep(keptGrowth, growth{g.At.ID, a.SizeBytes})
	c.Changed("had volume %s grown from %s to %s", g.At.ID, kit.Size(g.At.SizeBytes),
		kit.Size(a.SizeBytes))
	return c.Again("volume %s is growing", g.At.ID)
}

const keptGrowth = "growth"

// growth is one that this process asked for.
type growth struct {
	volume string
	bytes  int64
}

// Close has nothing to close: what is kept is only what was asked.
func (growth) Close() error { return nil }

func dryGrowVolume(ctx context.Context, c *kit.Call, _ *kit.Preview, a GrowArgs) ([]string,
	error) {
	g, err := openGrow(ctx, c, a)
	if err != nil {
		return nil, err
	}
	if g.At.SizeBytes >= a.SizeBytes {
		return nil, kit.Skip("volume %s has %s", g.At.ID, kit.Size(g.At.SizeBytes))
	}
	return []string{kit.Sprintf("have volume %s grown from %s to %s; it never shrinks again",
		g.At.ID, kit.Size(g.At.SizeBytes), kit.Size(a.SizeBytes))}, nil
}

// awaitDevice believes the kernel, not the provider: between the two there can be minutes.
func awaitDevice(ctx context.Context, c *kit.Call, a GrowArgs) (kit.Outcome, error) {
	g, err := openGrow(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	if g.device.SizeBytes >= a.SizeBytes {
		g.Found("%s has %s", g.device.Path, kit.Size(g.device.SizeBytes))
		return kit.Done(nil)
	}
	disk, rescan := filepath.Base(g.device.Path), ""
	if strings.HasPrefix(disk, "sd") {
		rescan = "; a SCSI disk is looked at again after `echo 1 >/sys/class/block/" + disk +
			"/device/rescan` there"
	}
	return c.Again("the kernel of %s sees %s with %s still%s", a.Server, g.device.Path,
		kit.Size(g.device.SizeBytes), rescan)
}

// growFilesystem grows the filesystem while it is mounted.
func growFilesystem(ctx context.Context, c *kit.Call, a GrowArgs) (kit.Outcome, error) {
	g, err := openGrow(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := g.fill(ctx, a); err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(nil)
}

// fill makes the filesystem as large as the device that the kernel sees.
func (g *growing) fill(ctx context.Context, a GrowArgs) error {
	if g.device.SizeBytes < a.SizeBytes {
		return kit.Wait("the kernel of %s sees %s with %s still", a.Server, g.device.Path,
			kit.Size(g.device.SizeBytes))
	}
	before := g.data.SizeBytes
	mount, changed, err := g.Agent.GrowFilesystem(ctx, kit.DataMount, g.FencingToken())
	if err != nil {
		return fmt.Errorf("cannot grow the filesystem of %s: %w", a.Server, err)
	}
	if !kit.Overlap(mount.DeviceIDs, g.Provider.DeviceNames(g.At.ID)) {
		return kit.Refuse(errorsv1.Reason_REASON_DEVICE_WRONG,
			kit.Hint("see what is mounted there (`findmnt` on the host)", kit.RetryThis()),
			"what is mounted at %s on %s is another volume than %s now", kit.DataMount, a.Server,
			g.At.ID)
	}
	if g.data = mount; changed {
		g.Changed("grew the filesystem at %s from %s to %s", kit.DataMount, kit.Size(before),
			kit.Size(mount.SizeBytes))
	}
	return nil
}

func dryGrowFilesystem(ctx context.Context, c *kit.Call, _ *kit.Preview,
	a GrowArgs) ([]string, error) {
	g, err := openGrow(ctx, c, a)
	if err != nil {
		return nil, err
	}
	return []string{kit.Sprintf("grow the %s at %s while MariaDB runs", g.device.Filesystem,
		kit.DataMount)}, nil
}

// finishGrow proves that nothing is left to grow, and has the record of the volume follow.
func finishGrow(ctx context.Context, c *kit.Call, a GrowArgs) (kit.Outcome, error) {
	g, err := openGrow(ctx, c, a)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := g.fill(ctx, a); err != nil {
		return kit.Outcome{}, err
	}
	size := g.At.SizeBytes
	g.Found("volume %s has %s, and its %s %s, of which %s are free", g.At.ID, kit.Size(size),
		g.device.Filesystem, kit.Size(g.data.SizeBytes), kit.Size(g.data.FreeBytes))
	return kit.Done(func(ctx context.Context, rec kit.Records) error {
		vol, err := rec.Volumes.Get(ctx, a.Volume)
		if err != nil || vol.SizeBytes == size {
			return err
		}
		vol.SizeBytes = size
		if err := rec.Volumes.Update(ctx, &vol); err != nil {
			return err
		}
		return c.Event(ctx, rec, "server.update", inventory.ServerSubject(a.Server),
			"volume %s of %s has %s", g.At.ID, a.Server, kit.Size(size))
	})
}

// growTo asks for a growth.
func growTo(server string, bytes int64) errs.Action {
	return errs.Call("GrowServer", "name", inventory.ServerSubject(server), "size_bytes",
		fmt.Sprint(bytes))
}
