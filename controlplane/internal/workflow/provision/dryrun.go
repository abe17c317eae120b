package provision

import (
	"cmp"
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

func dryPlan(ctx context.Context, c *kit.Call, p *kit.Preview, a Args) (_ []string, err error) {
	p.Image, err = c.Image(ctx, a.Image)
	return []string{kit.Sprintf("record %s and allocate a server_id", a.Server)}, err
}

func wouldCreate(p *kit.Preview, args kit.ForMaking) []string {
	return []string{kit.Sprintf("make a machine %s from image %s", args.ForMaking().Server,
		p.Image.Name)}
}

func wouldSwap(p *kit.Preview, args kit.ForMaking) []string {
	a := args.ForMaking()
	var all []string
	if v := p.Image.DefaultVolume; v != nil {
		all = append(all, kit.Sprintf("detach the image's default data volume (%s, %s) and "+
			"delete it",
			kit.Size(v.SizeBytes), v.Filesystem))
	}
	from, least := "a blank volume of %s", int64(0)
	switch {
	case a.Source == "":
	case a.Given:
		from, least = "a volume of %s from snapshot "+p.Snapshot.ID, p.Snapshot.SizeBytes
	default:
		from, least = "a volume of %s from the snapshot", p.Volume.SizeBytes
	}
	return append(all, kit.Sprintf("make "+from+" and attach it",
		kit.Size(max(a.VolumeBytes, least))))
}

// dryUpgrade compares the datadir's series with the image's, as far as it is known.
func dryUpgrade(_ context.Context, c *kit.Call, p *kit.Preview) ([]string, error) {
	datadir, image := kit.CopiedVersion(p.Snapshot, p.Source), p.Image.MariaDBVersion
	if err := kit.CheckVersions(datadir, image); err != nil {
		return nil, err
	}
	text := kit.Sprintf("the datadir is of MariaDB %s, the image has %s", datadir,
		cmp.Or(image, "a version not known yet"))
	if order, ok := replication.CompareSeries(datadir, image); ok && order == 0 {
		c.Found("%s: nothing to upgrade", text)
		return nil, nil
	}
	c.Found("%s", text)
	return []string{"run mariadb-upgrade if the datadir turns out older than the MariaDB on the " +
		"machine, without writing to the binary log"}, nil
}
