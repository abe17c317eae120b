package stack

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

// TestMain is also the control plane that a killed program left: it waits for the signal to end.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM)
		_, _ = os.Stdout.WriteString("serving\n")
		<-end
		return
	}
	os.Exit(m.Run())
}

func TestEarlierControlPlaneEnds(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Bin: "bin", Name: "earlier", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	running := func(dir string) *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Args = []string{"/bin/understudy", "serve", "--dev", "--state-dir", dir}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	earlier, other := running(s.cfg.Dir), running(t.TempDir())
	ended := make(chan error, 1)
	go func() { ended <- earlier.Wait() }()
	if err := s.endEarlier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it did not end by itself: %v", err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("that of another directory: %v", err)
	}
}
