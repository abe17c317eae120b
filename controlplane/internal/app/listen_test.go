package app

import (
	"errors"
	"log/slog"
	"net"
	"slices"
	"testing"
)

func TestProviderNetworkIsServedToo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		listen     []string
		host       string
		serve, say []string
	}{
		{"usual", []string{"127.0.0.1:7440"}, "10.213.0.1",
			[]string{"127.0.0.1:7440", "10.213.0.1:7440"}, []string{"10.213.0.1:7440"}},
		{"everywhere", []string{":7440"}, "10.213.0.1", []string{":7440"},
			[]string{"10.213.0.1:7440"}},
		{"everywhere on IPv6", []string{"[::]:7440"}, "10.213.0.1", []string{"[::]:7440"},
			[]string{"10.213.0.1:7440"}},
		{"named already", []string{"10.213.0.1:7440"}, "10.213.0.1", []string{"10.213.0.1:7440"},
			[]string{"10.213.0.1:7440"}},
		{"no network", []string{"127.0.0.1:7440"}, "", []string{"127.0.0.1:7440"}, nil},
		{"more", []string{"127.0.0.1:7440", "192.0.2.1:7440"}, "",
			[]string{"127.0.0.1:7440", "192.0.2.1:7440"}, []string{"192.0.2.1:7440"}},
		{"any port", []string{"127.0.0.1:0"}, "10.213.0.1", []string{"127.0.0.1:0"}, nil},
	}
	for _, test := range tests {
		if got := withProvider(test.listen, test.host); !slices.Equal(got, test.serve) {
			t.Errorf("%s: serves on %v, want %v", test.name, got, test.serve)
		}
		if got := reachable(test.listen, test.host); !slices.Equal(got, test.say) {
			t.Errorf("%s: machines are told %v, want %v", test.name, got, test.say)
		}
	}
}

func TestListenersAcceptEverywhere(t *testing.T) {
	t.Parallel()
	l, err := listen(t.Context(), []string{"127.0.0.1:0", "127.0.0.1:0"},
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range l.all {
		go func() {
			if conn, err := net.Dial("tcp", one.Addr().String()); err == nil {
				conn.Close()
			}
		}()
	}
	seen := map[string]bool{}
	for range l.all {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		seen[conn.LocalAddr().String()] = true
		conn.Close()
	}
	if len(seen) != 2 {
		t.Errorf("accepted on %v", seen)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestListenersOpenAllOrNone(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := first.Addr().String()
	first.Close()
	if _, err := listen(t.Context(), []string{free, taken.Addr().String()},
		slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("listens on an address that is taken")
	}
	again, err := net.Listen("tcp", free)
	if err != nil {
		t.Fatalf("the other address stayed open: %v", err)
	}
	again.Close()
}
