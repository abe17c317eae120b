package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

type serverCreate struct {
	startFlags
	image, zone string
	size        size
	filesystem  choice
	port        port
	autoPurge   bool
	options     map[string]string
}

func (c *cli) newServerCreate() *cobra.Command {
	f := &serverCreate{filesystem: choice{value: "ext4", allowed: []string{"ext4", "xfs"}}}
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a primary", Args: words([]string{"NAME"}),
		Long: `Make a primary: a machine from an image, a blank data volume with a new filesystem, a new datadir on it, and a MariaDB that answers.

The name is 2 to 40 lower-case letters, digits and dashes, a letter first. It is never used again, like the server_id that the server gets.`,
		Example: `  understudy server create db1
  understudy server create db1 --size 20GiB --filesystem xfs
  understudy server create db1 --image bookworm --option max_connections=500
  understudy server create db1 --detach     # print the job's name and go`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: c.do(func(ctx context.Context,
			args []string) error {
			return c.createServer(ctx, f, args[0])
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.image, "image", "", "`IMAGE` of the machine, see \"understudy provider "+
		"images\"; the provider's default when not given")
	flags.StringVar(&f.zone, "zone", "",
		"`ZONE` of the machine; the provider's default when not given")
	flags.Var(&f.size, "size", "size of the data volume, for example 10GiB; 2GiB when not given")
	flags.Var(&f.filesystem, "filesystem", "filesystem of the data volume")
	flags.Var(&f.port, "port", "port of MariaDB; 3306 when not given")
	flags.BoolVar(&f.autoPurge, "binlog-auto-purge", false,
		"let MariaDB purge binary logs by itself while it has no replica")
	optionFlag(cmd, &f.options)
	f.add(cmd)
	mustComplete(cmd, "filesystem", f.filesystem.allowed)
	c.completeFlag(cmd, "image", c.imageNames)
	return cmd
}

func (f *serverCreate) build(name string) (*cpv1.CreateServerRequest, error) {
	name, err := serverName(name)
	if err != nil {
		return nil, err
	}
	for _, check := range []error{checkImage("image", f.image), checkImage("zone", f.zone),
		checkOptions(f.options)} {
		if check != nil {
			return nil, check
		}
	}
	requestID, err := f.request()
	if err != nil {
		return nil, err
	}
	return &cpv1.CreateServerRequest{
		Name: name, Image: f.image, Zone: f.zone, VolumeSizeBytes: f.size.bytes,
		Filesystem: f.filesystem.value, Port: f.port.number,
		BinlogAutoPurge: f.autoPurge, Options: f.options, RequestId: requestID,
		ValidateOnly: f.dryRun,
	}, nil
}

func (c *cli) createServer(ctx context.Context, f *serverCreate, name string) error {
	req, err := f.build(name)
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		answer, err := a.servers.CreateServer(ctx, req)
		if err != nil {
			return lost(err, req.GetRequestId())
		}
		if f.dryRun {
			return c.plan(answer.GetJob())
		}
		return c.finish(ctx, a, answer.GetJob(), f.waitFlags, succeeded,
			func(ctx context.Context, _ *cpv1.Job) {
				c.sayServer(ctx, a, req.GetName())
			})
	})
}

// sayServer tells in a line what became of a server; when that cannot be had, the job's end has
// said enough.
func (c *cli) sayServer(ctx context.Context, a *api, name string) {
	s, err := getServer(ctx, a, name)
	if err != nil {
		return
	}
	line := fmt.Sprintf("%s is %s", show.ID(s.GetName()), trimEnum(s.GetState()))
	if at := endpoint(s); at != "" {
		line += " at " + at
	}
	if s.GetMariadbVersion() != "" {
		line += ", MariaDB " + show.Clean(s.GetMariadbVersion())
	}
	if s.GetPrimary() != "" {
		line += ", a replica of " + show.ID(s.GetPrimary())
	}
	if level := enum.Word(s.GetVerified().GetLevel()); level != "" {
		line += ", verified: " + level
	}
	c.say("%s", line)
}
