package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnlyATerminalGetsEscapeCodes(t *testing.T) {
	t.Parallel()
	for _, styled := range []bool{false, true} {
		var out bytes.Buffer
		s := screen{out: &out, styled: styled}
		s.say("a %s", "title")
		if !strings.Contains(out.String(), "a title") ||
			strings.Contains(out.String(), "\033") != styled {
			t.Errorf("styled %v: %q", styled, out.String())
		}
		_, file := screen{out: os.Stdout, styled: styled}.forPrograms().(*os.File)
		if file != styled {
			t.Errorf("styled %v: programs get the terminal: %v", styled, file)
		}
	}
}

func TestSlowSaysWhatGoesOn(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration]string{
		time.Second:      "",
		3 * time.Second:  "  at it (2 s so far)\n",
		13 * time.Second: "  at it (2 s so far)\n  at it (12 s so far)\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			failed := errors.New("it failed")
			err := screen{out: &out}.slow("at it", func() error {
				<-time.After(took)
				return failed
			})
			if !errors.Is(err, failed) || out.String() != want {
				t.Errorf("%s: %q, %v", took, out.String(), err)
			}
		})
	}
}

func TestDownCommandNamesItsLab(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"make demo-down":                       {Name: "demo", Dir: "/var/lib/understudy-demo"},
		"make demo-down LAB=two":               {Name: "two", Dir: "/var/lib/understudy-two"},
		"bin/demo --lab two --dir /else down":  {Bin: "bin", Name: "two", Dir: "/else"},
		"bin/demo --lab demo --dir /else down": {Bin: "bin", Name: "demo", Dir: "/else"},
	} {
		if got := cfg.downCommand(); got != want {
			t.Errorf("%+v: %s, not %s", cfg, got, want)
		}
	}
}

const reportOf = "[ 1s ] thds: 4 tps: %s qps: 1.00 (r/w/o: 1.00/1.00/1.00) lat (ms,95%): 4.10 " +
	"err/s: 0.00 reconn/s: 0.00"

func TestRateIsOfALoadThatRuns(t *testing.T) {
	t.Parallel()
	l := &Load{done: make(chan struct{}), reports: make(chan struct{}, 1)}
	reader, sysbench := io.Pipe()
	read := make(chan struct{})
	go func() {
		defer close(read)
		l.scan(reader)
	}()
	go func() {
		for _, tps := range []string{"0.00", "97.50"} {
			_, _ = io.WriteString(sysbench, strings.Replace(reportOf, "%s", tps, 1)+"\n")
		}
	}()
	if rate, err := l.Rate(t.Context()); err != nil || rate != 97.5 {
		t.Errorf("%v %v", rate, err)
	}
	_, _ = io.WriteString(sysbench, "FATAL: it cannot\n")
	sysbench.Close()
	<-read
	if _, err := l.Rate(context.Background()); err == nil ||
		!strings.Contains(err.Error(), "FATAL: it cannot") {
		t.Errorf("of a load that ended: %v", err)
	}
}
