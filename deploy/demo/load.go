package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/understudy-db/understudy/deploy/stack"
)

// Load is sysbench oltp_read_write against a primary, until it is stopped.
type Load struct {
	cmd    *exec.Cmd
	done   chan struct{}
	config string

	mu           sync.Mutex
	transactions float64
	conflicts    float64
	reconnects   float64
	rate         float64
	reports      chan struct{} // one signal for each report that nobody has waited for yet
	output       []string
}

// The rate is one that a replica can apply beside it: what it cannot would only be waited for.
const loadTables, loadRows, loadThreads, loadRate = 4, 10000, 4, 100

// loadArgs are sysbench's arguments; the password is in the file.
func loadArgs(config, verb string, more ...string) []string {
	args := []string{"--config-file=" + config, fmt.Sprintf("--tables=%d", loadTables),
		fmt.Sprintf("--table-size=%d", loadRows),
		fmt.Sprintf("--threads=%d", loadThreads), "--rand-type=uniform"}
	return append(append(args, more...), "oltp_read_write", verb)
}

// PrepareLoad makes sysbench's tables.
func PrepareLoad(ctx context.Context, dir string, a stack.Account) error {
	config, err := writeLoadConfig(dir, a)
	if err != nil {
		return err
	}
	defer os.Remove(config)
	out, err := exec.CommandContext(ctx, "sysbench",
		loadArgs(config, "prepare")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("sysbench cannot prepare its tables: %w:\n%s", err, out)
	}
	return nil
}

// StartLoad starts the load. It goes on until Stop.
func StartLoad(dir string, a stack.Account) (*Load, error) {
	config, err := writeLoadConfig(dir, a)
	if err != nil {
		return nil, err
	}
	l := &Load{config: config, done: make(chan struct{}), reports: make(chan struct{}, 1)}
	l.cmd = exec.Command("sysbench", loadArgs(config, "run", "--report-interval=1", "--time=0",
		"--events=0", fmt.Sprintf("--rate=%d", loadRate))...)
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.cmd.Stderr = l.cmd.Stdout
	if err := l.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start sysbench: %w", err)
	}
	go func() {
		l.scan(out)
		_ = l.cmd.Wait()
	}()
	return l, nil
}

var reportLine = regexp.MustCompile(`tps: ([0-9.]+) .* err/s: ([0-9.]+) reconn/s: ([0-9.]+)`)

func (l *Load) scan(out io.Reader) {
	defer close(l.done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		l.add(lines.Text())
	}
}

// add counts one of sysbench's lines, which come once a second.
func (l *Load) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := reportLine.FindStringSubmatch(line)
	if m == nil {
		l.output = append(l.output, line)
		return
	}
	tps, _ := strconv.ParseFloat(m[1], 64)
	conflicts, _ := strconv.ParseFloat(m[2], 64)
	reconnects, _ := strconv.ParseFloat(m[3], 64)
	l.transactions += tps
	l.conflicts += conflicts
	l.reconnects += reconnects
	l.rate = tps
	select {
	case l.reports <- struct{}{}:
	default:
	}
}

// Rate waits for a report of sysbench that nobody has seen and that is not of nothing, and returns
// its transactions a second.
func (l *Load) Rate(ctx context.Context) (float64, error) {
	for {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-l.done:
			return 0, l.ended()
		case <-l.reports:
		}
		l.mu.Lock()
		rate := l.rate
		l.mu.Unlock()
		select {
		case <-l.done: // the report was of before
		default:
			if rate > 0 {
				return rate, nil
			}
		}
	}
}

func (l *Load) ended() error {
	return fmt.Errorf("the load ended by itself:\n%s", strings.Join(l.output, "\n"))
}

// Done is what a load did.
type Done struct {
	// Transactions that were committed.
	Transactions int64
	// Conflicts with one of its own other threads (1213, 1020, 1205), after which sysbench began
	// the transaction again.
	Conflicts int64
	// Errors are connections that were lost. Any other error ends sysbench.
	Errors int64
}

// Stop ends the load and returns what it did. An error says that sysbench had ended before, with
// what it printed.
func (l *Load) Stop() (done Done, err error) {
	defer os.Remove(l.config)
	select {
	case <-l.done:
		err = l.ended()
	default:
		_ = l.cmd.Process.Signal(syscall.SIGTERM)
		<-l.done
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return Done{Transactions: int64(l.transactions + 0.5), Conflicts: int64(l.conflicts + 0.5),
		Errors: int64(l.reconnects + 0.5)}, err
}

func writeLoadConfig(dir string, a stack.Account) (string, error) {
	f, err := os.CreateTemp(dir, "sysbench-*.cnf")
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f,
		"db-driver=mysql\nmysql-host=%s\nmysql-user=%s\nmysql-password=%s\nmysql-db=%s\n",
		a.Host, a.User, a.Password, a.Schema)
	return f.Name(), err
}
