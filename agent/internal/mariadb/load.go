package mariadb

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

const (
	ioPressureFile = "/proc/pressure/io"
	// mostIOPressure is the share of the last 10 s in which tasks waited for I/O, in percent.
	mostIOPressure = 20
)

// loaded is why this host is too busy for work that can wait; empty when it is not.
func loaded(ctx context.Context, q querier, maxThreads int64) (string, error) {
	if maxThreads == 0 {
		return "", nil
	}
	r, err := one(ctx, q, "SHOW GLOBAL STATUS LIKE 'Threads_running'")
	if err != nil {
		return "", err
	}
	if running := r.number("value"); running > maxThreads {
		return fmt.Sprintf("%d statements run in MariaDB", running), nil
	}
	// A kernel without pressure stall information says nothing.
	if waited := pressure(ioPressureFile); waited > mostIOPressure {
		return fmt.Sprintf("tasks waited for I/O in %.0f %% of the last 10 s", waited), nil
	}
	return "", nil
}

// pressure is the share of the last 10 s in which some task waited, by a file of the kernel.
func pressure(path string) float64 {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "some" {
			continue
		}
		share, err := strconv.ParseFloat(strings.TrimPrefix(fields[1], "avg10="), 64)
		if err == nil {
			return share
		}
	}
	return 0
}
