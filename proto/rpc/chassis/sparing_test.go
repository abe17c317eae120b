package chassis_test

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
)

// TestStrangersDoNotFillTheLog: each of their connections fails.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{})
	const many = 1_000
	for range many {
		conn, err := net.Dial("tcp", w.address)
		must(t, err)
		_, err = conn.Write([]byte("no hello of TLS\n"))
		must(t, err)
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}
	lines := strings.Count(w.log.String(), "refused a connection")
	if lines == 0 || lines > many/2 {
		t.Errorf("%d lines about %d connections", lines, many)
	}
}

func TestLinesThatAreLeftOutAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		may := chassis.Sparing(slog.New(slog.NewJSONHandler(log, nil)))
		written := 0
		for range 500 {
			if may() {
				written++
			}
		}
		time.Sleep(time.Minute)
		if !may() || written != 100 || strings.Count(log.String(), `"lines":400`) != 1 {
			t.Errorf("%d lines, and %s", written, log)
		}
	})
}
