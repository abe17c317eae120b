package nspawn

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Command is a program to run in a machine.
type Command struct {
	// Argv is the program and its arguments; there is no shell.
	Argv []string
	// Stdin may be nil.
	Stdin io.Reader
}

// Exec runs a command as root in a running machine and gives its output. The error of one
// that failed holds what it wrote to its standard error. It is for people and for tests:
// the product itself goes through the agent.
func (p *Provider) Exec(ctx context.Context, machineID string, command Command) (string, error) {
	enter, err := p.enterCommand(ctx, machineID)
	if err != nil {
		return "", err
	}
	argv := append(enter, command.Argv...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = toolEnv()
	cmd.Stdin = command.Stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%q in machine %s failed: %w: %s", command.Argv, machineID, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// ShellCommand is what a person types to get a shell on a running machine.
func (p *Provider) ShellCommand(ctx context.Context, machineID string) (string, error) {
	enter, err := p.enterCommand(ctx, machineID)
	return strings.Join(append(enter, "bash", "-l"), " "), err
}

func (p *Provider) enterCommand(ctx context.Context, machineID string) ([]string, error) {
	var argv []string
	err := p.withMachine(ctx, machineID, func(m *machineRecord) error {
		if !p.lab.isOn(m) {
			return provider.Errorf(provider.ErrIncorrectState, m.ID, "machine %s is not running: it is %s", m.ID, m.Phase)
		}
		argv = []string{"nsenter", "--target", strconv.Itoa(m.Leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"}
		return nil
	})
	return argv, err
}
