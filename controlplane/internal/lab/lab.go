// Package lab is the provider of `understudy serve --dev`: real hosts on this machine, with the
// agent installed and a default image. No product code imports it or what is below it.
package lab

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/deploy/systemd"
)

const agentProgram = "understudy-agent"

// Config says which lab to use. Empty fields take the defaults of nspawn.Config.
type Config struct {
	// Name is the lab's name.
	Name string
	// ImageCacheDir holds the images.
	ImageCacheDir string
	// AgentBinary is installed on hosts; empty takes the one beside this program, or the installed
	// one.
	AgentBinary string
	// Image is the default image.
	Image string
	// SupervisorWords are those of nspawn.Config.
	SupervisorWords []string
	// Log gets what goes wrong; default none.
	Log *slog.Logger
}

// Lab is the nspawn provider with a default image, and what it lacks on this machine.
type Lab struct {
	*nspawn.Provider
	image, agent string
}

// New opens a lab; it makes nothing on the machine yet.
func New(cfg Config) (*Lab, error) {
	l := &Lab{image: cfg.Image, agent: findAgent(cfg.AgentBinary)}
	var err error
	l.Provider, err = nspawn.New(nspawn.Config{
		Name: cfg.Name, ImageCacheDir: cfg.ImageCacheDir, AgentBinary: l.agent, Log: cfg.Log,
		SupervisorWords: cfg.SupervisorWords, Files: AgentFiles(),
		EnableUnits: []string{systemd.AgentUnit},
	})
	return l, err
}

// AgentFiles are what a host needs beside the agent's program.
func AgentFiles() map[string]nspawn.File {
	return map[string]nspawn.File{
		"/etc/systemd/system/" + systemd.AgentUnit: {Content: systemd.AgentUnitFile()},
		"/etc/understudy-agent/agent.yaml":         {Content: systemd.AgentConfig()},
	}
}

// findAgent is the named agent, else the one beside this program, else the installed one.
func findAgent(named string) string {
	candidates := []string{named}
	if named == "" {
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

// Images lists the images, the default one first.
func (l *Lab) Images(ctx context.Context) ([]provider.Image, error) {
	images, err := l.Provider.Images(ctx)
	return provider.DefaultFirst(images, l.image), err
}

// Problems are what is missing for the jobs to work, one line each.
func (l *Lab) Problems(ctx context.Context) ([]string, error) {
	problems := provider.Problems(l.Check(ctx))
	if l.agent == "" {
		problems = append(problems, "there is no "+agentProgram+
			" beside this program: build or install it, or name it with --agent-binary")
	}
	images, err := l.Images(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(images, func(i provider.Image) bool { return i.Ready }) {
		problems = append(problems, "no image is built: run `understudy-lab images build "+l.image+
			"`")
	}
	return problems, nil
}
