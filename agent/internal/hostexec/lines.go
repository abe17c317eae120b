package hostexec

import (
	"bufio"
	"context"
	"fmt"

	"github.com/understudy-db/understudy/proto/capped"
)

// maxLine bounds one line of Lines.
const maxLine = 1 << 20

// Lines runs the tool and hands over each line of its output as it comes, until the tool ends, each
// returns an error, or ctx is done; the tool is ended then. An end that ctx asked for answers ctx's
// error.
func (r *Runner) Lines(ctx context.Context, command Command, each func(line []byte) error) error {
	path, err := r.Look(command.Tool)
	if err != nil {
		return err
	}
	ctx, cancel := bound(ctx, command.Timeout)
	defer cancel()
	errOut := &capped.Buffer{Limit: maxOutput}
	cmd := build(ctx, path, command)
	cmd.Stderr = errOut
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("cannot run %s: %w", command.Tool, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot run %s: %w", command.Tool, err)
	}
	scanner := bufio.NewScanner(out)
	scanner.Buffer(make([]byte, 0, 64<<10), maxLine)
	var readErr error
	for readErr == nil && scanner.Scan() {
		readErr = each(scanner.Bytes())
	}
	if readErr == nil {
		readErr = scanner.Err()
	}
	if readErr != nil && ctx.Err() == nil {
		cancel()
		_ = cmd.Wait() // it was ended on purpose
		return readErr
	}
	waitErr := cmd.Wait()
	return classify(ctx, command, Result{Stderr: errOut.Bytes(), Code: exitCode(cmd)}, waitErr)
}
