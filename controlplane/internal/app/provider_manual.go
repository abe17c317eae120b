package app

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/manual"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// byOperator is the provider manual with a default image.
type byOperator struct {
	*manual.Provider
	image string
	hosts *deviceObserver
}

func newManual(cfg Config, log *slog.Logger) (*byOperator, error) {
	images, err := cfg.manualImages()
	if err != nil {
		return nil, err
	}
	hosts := &deviceObserver{}
	p, err := manual.New(manual.Config{Dir: cfg.path("manual"), Images: images, Hosts: hosts,
		Log: log})
	if err != nil {
		return nil, err
	}
	return &byOperator{p, cfg.Image, hosts}, nil
}

var imageOfVersion = regexp.MustCompile(
	`^([A-Za-z0-9][A-Za-z0-9._:-]{0,127})=([0-9]{1,3}\.[0-9]{1,3}(\.[0-9]{1,3})?)$`)

// manualImages are the images that operators make machines from.
func (c Config) manualImages() (images []provider.Image, err error) {
	for _, pair := range c.ManualImages {
		parts := imageOfVersion.FindStringSubmatch(pair)
		if parts == nil || strings.Contains(pair, "..") {
			return nil, fmt.Errorf("%q is not name=version of MariaDB, such as trixie=11.8", pair)
		}
		images = append(images, provider.Image{Name: parts[1], MariaDBVersion: parts[2],
			Description: "made by hand, with MariaDB " + parts[2], Ready: true})
	}
	return images, nil
}

// HostAddress is empty: machines reach the control plane at one of the addresses that it serves on.
func (m *byOperator) HostAddress(context.Context) (string, error) { return "", nil }

// Images lists the images, the default one first.
func (m *byOperator) Images(ctx context.Context) ([]provider.Image, error) {
	images, err := m.Provider.Images(ctx)
	return provider.DefaultFirst(images, m.image), err
}

// Problems are what is missing for the jobs to work, one line each.
func (m *byOperator) Problems(ctx context.Context) ([]string, error) {
	return provider.Problems(m.Check(ctx)), nil
}

// deviceObserver asks the agents of the machines that operators made. It works once the control
// plane knows its agents.
type deviceObserver struct {
	mu     sync.Mutex
	rows   query.Servers
	agents kit.Agents
}

func (w *deviceObserver) open(rows query.Servers, agents kit.Agents) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows, w.agents = rows, agents
}

// Devices are what the machine's agent shows. The agent that is asked must be of that very machine:
// a server may have got another one since.
func (w *deviceObserver) Devices(ctx context.Context, m provider.Machine) ([]string, error) {
	w.mu.Lock()
	rows, agents := w.rows, w.agents
	w.mu.Unlock()
	if agents == nil {
		return nil, fmt.Errorf("the control plane is starting")
	}
	srv, err := rows.Get(ctx, m.Tags[kit.TagServer])
	if err != nil {
		return nil, err
	}
	if srv.MachineID != m.ID {
		return nil, fmt.Errorf("%s is on machine %q by its record", srv.Name, srv.MachineID)
	}
	agent, err := agents.Agent(ctx, srv.Name)
	if err != nil {
		return nil, err
	}
	devices, err := agent.BlockDevices(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range devices {
		names = append(names, d.IDs...)
	}
	return names, nil
}
