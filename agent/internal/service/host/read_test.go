package host

import "testing"

func TestBinaryVersion(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]string{
		"mariadbd  Ver 11.8.6-MariaDB-0+deb13u1 from Debian for debian-linux-gnu on x86_64 (-- " +
			"Please help get to 10k stars)\n": "11.8.6",
		"mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64 " +
			"(Debian 12)": "10.11.14",
		"": "", "nonsense": "",
	} {
		if got := binaryVersion(output); got != want {
			t.Errorf("binaryVersion(%q) = %q, want %q", output, got, want)
		}
	}
}

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
