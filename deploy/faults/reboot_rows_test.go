//go:build lab

package faults

import (
	"fmt"
	"strings"
	"time"
)

// rebootRows are about machines that are restarted, and servers that come back.
func rebootRows() []row {
	return []row{
		{
			id: "W1", variant: "a READY replica", quick: true, run: (*lab).rebootsReplica,
			planted: "the machine of a replica is restarted while its primary is written to",
			happens: "the kernel has another boot id, once; the replica is READY and equal",
			why:     "the boot id is the proof, on record before the provider is asked",
		},
		{
			id: "W1", variant: "a primary", run: (*lab).rebootsPrimary,
			planted: "the restart of a primary is asked for without and with --primary; its " +
				"MariaDB is disabled, and does not start by itself",
			happens: "refused without; with it MariaDB is started after the boot, and commits",
			why:     "what a boot did not start is started before anything is proved",
		},
	}
}

// countBoots has a host note each of its boots.
func (l *lab) countBoots(name string) {
	const unit = "count-boots.service"
	l.put(name, "/etc/systemd/system/"+unit, "[Service]\nType=oneshot\n"+
		"ExecStart=/bin/sh -c 'echo boot >>/var/tmp/boots'\n"+
		"[Install]\nWantedBy=multi-user.target\n")
	l.exec(name, "systemctl", "enable", unit)
	l.exec(name, "rm", "-f", "/var/tmp/boots")
}

// boots expects that a host booted so many times since they are counted.
func (l *lab) boots(name string, want int) {
	l.t.Helper()
	l.eventually(time.Minute, fmt.Sprintf("%s has booted %d times", name, want), func() bool {
		return strings.Count(l.exec(name, "sh", "-c", "cat /var/tmp/boots || :"), "boot") == want
	})
}

func (l *lab) rebootsReplica() {
	name := l.stand()
	l.countBoots(name)
	said := l.run("server", "reboot", name)
	l.boots(name, 1)
	if now := l.exec(name, "cat", "/proc/sys/kernel/random/boot_id"); !strings.Contains(said,
		"and is "+now) {
		l.t.Errorf("the boot is %s:\n%s", now, said)
	}
	l.whole(name)
}

func (l *lab) rebootsPrimary() {
	name := l.unwritten("--image", "trixie")
	l.refuse([]string{"is a primary", "--primary"}, "server", "reboot", name)
	l.countBoots(name)
	l.exec(name, "systemctl", "disable", mariadbUnit)
	l.run("server", "reboot", name, "--primary")
	l.boots(name, 1)
	l.ready(name)
}

// strikeReboot strikes in each step of a replica's restart.
func (l *lab) strikeReboot(c crash, point string) {
	name := l.stand()
	l.countBoots(name)
	l.strikeJob(c, point, "server", "reboot", name)
	l.agentsBack()
	l.boots(name, 1)
	l.whole(name)
}
