//go:build lab

package faults

import (
	"strings"
	"time"
)

func occupiedRows() []row {
	const happens = "the job refuses with MOUNT_POINT_NOT_EMPTY, naming the process, its unit " +
		"and the databases; the database serves on, with its rows"
	return []row{
		{
			id: "V16", variant: "a running database", run: func(l *lab) {
				l.occupied("mariadb.service", "/var/lib/mysql", "systemctl start mariadb")
			},
			planted: "the host of a new server runs MariaDB with a user's database",
			happens: happens,
			why: "an empty volume over its datadir would hide it, and MariaDB would be READY " +
				"without a row",
		},
		{
			id: "V16", variant: "a running database with its datadir elsewhere",
			run: func(l *lab) {
				l.occupied("mariadb.service", "/data/mysql",
					"systemctl stop mariadb; mkdir /data; cp -a /var/lib/mysql /data/mysql; "+
						"printf '[mariadbd]\\ndatadir=/data/mysql\\n' "+
						">/etc/mysql/mariadb.conf.d/70-local.cnf; systemctl start mariadb")
			},
			planted: "the same, with `datadir=/data/mysql` in an option file",
			happens: happens,
			why:     "its unit would be stopped and started on something else",
		},
		{
			id: "V16", variant: "a running database in another unit",
			run: func(l *lab) {
				l.occupied("shop.service", "/var/lib/mysql", "systemctl stop mariadb; "+
					"systemd-run --unit=shop --property=RuntimeDirectory=mysqld "+
					"--property=User=mysql /usr/sbin/mariadbd; until mariadb -e 'select 1'; do "+
					"sleep 0.2; done")
			},
			planted: "the same, run by a unit of its own name on /var/lib/mysql",
			happens: happens,
			why:     "what counts is which process works in that directory, not which unit is up",
		},
		{
			id: "V16", variant: "a running database in a namespace of its own",
			run: func(l *lab) {
				l.occupied("box.service", "/var/lib/mysql", "systemctl stop mariadb; mkdir /box; "+
					"systemd-run --unit=box --property=RuntimeDirectory=mysqld "+
					"--property=User=mysql --property=BindPaths=/var/lib/mysql:/box "+
					"--property=PrivateTmp=yes /usr/sbin/mariadbd --datadir=/box; "+
					"until mariadb -e 'select 1'; do sleep 0.2; done")
			},
			planted: "the same, as a container has it: in a mount namespace of its own, where " +
				"the datadir has another name",
			happens: happens,
			why:     "the directory is the same one, by whatever name",
		},
	}
}

// occupied plants a database on the host of a new server before its agent is asked what runs there.
func (l *lab) occupied(unit, datadir, start string) {
	l.dieAt("before_effect:await_agent")
	m := making{name: l.name()}
	m.job = l.detach("server", "create", m.name, "--image", "trixie")
	l.awaitDead()
	l.eventually(time.Minute, "the host's own MariaDB is up", func() bool {
		return l.maybe(m.name, "systemctl", "is-active", mariadbUnit) == "active"
	})
	l.exec(m.name, "bash", "-c", start)
	l.sql(m.name, "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); "+
		"INSERT INTO shop.orders VALUES (1), (2)")
	l.refused(m, "MOUNT_POINT_NOT_EMPTY", "of "+unit, "shop", datadir)
	if rows := l.sql(m.name, "SELECT COUNT(*) FROM shop.orders"); rows != "2" {
		l.t.Errorf("the database has %s rows", rows)
	}
	if got := l.sql(m.name, "SELECT @@datadir"); got != datadir+"/" && got != "/box/" {
		l.t.Errorf("the datadir is %s", got)
	}
	// The invariants are about servers of ours.
	l.run("job", "cleanup", strings.TrimPrefix(m.job, "jobs/"))
}
