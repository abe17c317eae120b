package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/nspawn"
	"github.com/understudy-db/understudy/deploy/systemd"
)

// Supervise must be the first thing that main does: the nspawn provider starts this very program
// anew to look after a machine. It says whether it did so; nothing else is to be done then.
func Supervise(args []string) (handled bool, err error) { return nspawn.Supervise(args) }

const agentProgram = "understudy-agent"

// theCloud is what the control plane needs of a provider.
type theCloud interface {
	provider.Provider
	// HostAddress is the control plane's own address in the network of the machines.
	HostAddress(ctx context.Context) (string, error)
	// Problems are what is missing for the jobs to work, one line each.
	Problems(ctx context.Context) ([]string, error)
}

// cloud is the provider nspawn with a default image, and what it lacks here.
type cloud struct {
	*nspawn.Provider
	image string
	agent string // path of the agent's program; empty when there is none
}

// newCloud makes the provider; it makes nothing on the box yet.
func newCloud(cfg Config, log *slog.Logger) (*cloud, error) {
	c := &cloud{image: cfg.Image, agent: findAgent(cfg.AgentBinary)}
	if c.agent == "" {
		log.Warn("there is no agent to put into machines, so none will enrol", "looked_for",
			agentProgram+" beside this program")
	}
	var err error
	c.Provider, err = nspawn.New(nspawn.Config{
		Name: cfg.Lab, ImageCacheDir: cfg.ImageCacheDir, AgentBinary: c.agent, Log: log,
		Files: map[string]nspawn.File{
			"/etc/systemd/system/" + systemd.AgentUnit: {Content: systemd.AgentUnitFile()},
			"/etc/understudy-agent/agent.yaml":         {Content: systemd.AgentConfig()},
		},
		EnableUnits: []string{systemd.AgentUnit},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot use the provider: %w", err)
	}
	return c, nil
}

// findAgent is the agent that was asked for, else the one beside this program, else the installed
// one.
func findAgent(asked string) string {
	candidates := []string{asked}
	if asked == "" {
		candidates = []string{"/usr/bin/" + agentProgram}
		if self, err := os.Executable(); err == nil {
			candidates = slices.Insert(candidates, 0,
				filepath.Join(filepath.Dir(self), agentProgram))
		}
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// openCloud makes the provider that the configuration names.
func openCloud(ctx context.Context, cfg Config, log *slog.Logger) (theCloud, error) {
	switch cfg.Provider {
	case "ec2":
		return newEC2(ctx, cfg, log)
	case "static":
		return newStatic(cfg, log)
	}
	return newCloud(cfg, log)
}

// Images lists the images, the default one first.
func (c *cloud) Images(ctx context.Context) ([]provider.Image, error) {
	images, err := c.Provider.Images(ctx)
	preferred(images, c.image)
	return images, err
}

func preferred(images []provider.Image, image string) {
	slices.SortStableFunc(images, func(a, b provider.Image) int {
		switch {
		case a.Name == image && b.Name != image:
			return -1
		case b.Name == image && a.Name != image:
			return 1
		}
		return 0
	})
}

// Problems are what is missing for the jobs to work, one line each.
func (c *cloud) Problems(ctx context.Context) ([]string, error) {
	problems := problemsOf(c.Check(ctx))
	if c.agent == "" {
		problems = append(problems,
			"there is no "+agentProgram+
				" beside this program: build or install it, or name it with --agent-binary")
	}
	images, err := c.Images(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(images, func(i provider.Image) bool { return i.Ready }) {
		problems = append(problems, "no image is built: run `understudy-lab images build "+c.image+
			"`")
	}
	return problems, nil
}

// problemsOf takes the single complaints out of a provider's one error.
func problemsOf(err error) []string {
	if err == nil {
		return nil
	}
	var e *provider.Error
	if !errors.As(err, &e) {
		return []string{err.Error()}
	}
	text := e.Message
	if _, list, ok := strings.Cut(text, " cannot work here: "); ok {
		text = list
	}
	return strings.Split(text, "; ")
}
