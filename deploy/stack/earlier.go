package stack

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is what a program gets to end by itself.
const patience = 20 * time.Second

// endEarlier ends what an earlier program started for this state directory and lab, and waits for
// its end. It is found by its command line: who is killed between starting something and writing
// down its number leaves no number.
func (s *Stack) endEarlier(ctx context.Context) error {
	told := map[int]bool{}
	limit := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left := s.earlier()
		for _, pid := range left {
			if !told[pid] {
				told[pid] = true
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		case <-tick.C:
		}
	}
}

// earlier lists the processes that are this state directory's control plane or this lab's endpoint.
func (s *Stack) earlier() []int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var found []int
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		if s.serves(args) || s.isEndpoint(args) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			found = append(found, pid)
		}
	}
	return found
}

func (s *Stack) serves(args []string) bool {
	at := slices.Index(args, "--state-dir")
	return len(args) > 1 && filepath.Base(args[0]) == "understudy" && args[1] == "serve" &&
		at > 0 && at+1 < len(args) && args[at+1] == s.cfg.Dir
}

func (s *Stack) isEndpoint(args []string) bool {
	return len(args) > 3 && filepath.Base(args[0]) == "understudy-lab" && args[2] == s.cfg.Name &&
		args[3] == "ec2"
}
