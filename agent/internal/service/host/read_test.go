package host

import "testing"

func TestReadOfProc(t *testing.T) {
	t.Parallel()
	if got := meminfo("MemTotal:       16384 kB\nMemAvailable:    1024 kB\n",
		"MemAvailable"); got != 1<<20 {
		t.Errorf("meminfo = %d", got)
	}
	if got := osRelease(
		"ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n"); got !=
		"Debian GNU/Linux 13 (trixie)" {
		t.Errorf("osRelease = %q", got)
	}
	if got := firstNumber("0.52 0.58 0.59 1/388 1234"); got != 0.52 {
		t.Errorf("firstNumber = %v", got)
	}
	if uptime() <= 0 {
		t.Error("no uptime")
	}
}
