package mariadb

import (
	"context"
	"fmt"
	"strconv"
)

// Installed is what a host has of MariaDB, read without a connection: one would wake a server that
// was stopped, through its socket unit.
type Installed struct {
	// Version is the installed server's.
	Version Version
	// Datadir is where its options put the datadir, Port where they make it listen.
	Datadir string
	Port    int
	// Volume is the filesystem that has the datadir; empty while there is none.
	Volume Volume
	// Made is true when the datadir has MariaDB's own tables.
	Made bool
}

// oldest is the oldest MariaDB that the jobs are tested with.
func oldest() Version { return Version{Major: 10, Minor: 11} }

// Supported is nil for a version that the jobs work with.
func (v Version) Supported() error {
	if oldest().newerSeries(v) {
		return fmt.Errorf("MariaDB %s is older than %d.%d", v, oldest().Major, oldest().Minor)
	}
	return nil
}

// Installed reads what the host has of MariaDB.
func (h *Host) Installed(ctx context.Context) (Installed, error) {
	var in Installed
	var err error
	if in.Version, err = h.binary.recent(ctx); err != nil {
		return Installed{}, err
	}
	options, err := h.Configuration.options.read(ctx, "")
	if err != nil {
		return Installed{}, err
	}
	in.Datadir, in.Port = h.Configuration.options.datadir(options), Settings{}.port()
	if port, err := strconv.Atoi(effective(options)["port"]); err == nil && port > 0 {
		in.Port = port
	}
	if volume, err := h.Server.volumes.of(ctx, in.Datadir); err == nil {
		in.Volume = volume
	}
	in.Made = holdsMariaDB(in.Datadir)
	return in, nil
}
