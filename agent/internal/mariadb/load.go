package mariadb

import (
	"bufio"
	"bytes"
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
	text, err := os.ReadFile(ioPressureFile)
	if err != nil {
		return "", nil
	}
	if waited := pressure(text); waited > mostIOPressure {
		return fmt.Sprintf("tasks waited for I/O in %.0f %% of the last 10 s", waited), nil
	}
	return "", nil
}

// pressure is the share of the last 10 s in which some task waited.
func pressure(text []byte) float64 {
	lines := bufio.NewScanner(bytes.NewReader(text))
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
