//go:build lab

package faults

import "strings"

// effect is what a job made at the provider, by the provider's own records, those of deleted things
// included.
type effect struct {
	kind, id, key string
	gone          bool
}

func (l *lab) effects(job string) []effect {
	l.t.Helper()
	var all []effect
	add := func(kind, id string, tags map[string]string, gone bool) {
		if tags["understudy:job"] == strings.TrimPrefix(job, "jobs/") {
			all = append(all, effect{kind: kind, id: id,
				key:  kind + " of " + tags["understudy:step"] + " as " + tags["understudy:role"],
				gone: gone})
		}
	}
	for id, m := range objects[machine](l, "machine") {
		add("machine", id, m.Tags, m.Phase == "terminated")
	}
	for id, v := range objects[volume](l, "volume") {
		add("volume", id, v.Tags, !v.DeletedAt.IsZero())
	}
	for id, s := range objects[snapshot](l, "snapshot") {
		add("snapshot", id, s.Tags, !s.DeletedAt.IsZero())
	}
	return all
}

// madeOnce expects that what a job makes is there, and was made once: at the provider, on the host,
// on the primary.
func (l *lab) madeOnce(m making) {
	l.t.Helper()
	l.effectsOnce(m)
	if m.name == "" {
		return
	}
	l.hostOnce(m.name)
	if n := l.starts(m.name); n != 1 {
		l.t.Errorf("MariaDB was started %d times, not once", n)
	}
}

// effectsOnce expects that no effect of a job at the provider was made twice, and that what is left
// is what the job is for.
func (l *lab) effectsOnce(m making) {
	l.t.Helper()
	first, live := map[string]string{}, map[string]int{}
	for _, e := range l.effects(m.job) {
		if other := first[e.key]; other != "" {
			l.t.Errorf("%s was made twice: %s and %s", e.key, other, e.id)
		}
		first[e.key] = e.id
		if !e.gone {
			live[e.kind]++
		}
	}
	wanted := map[string]int{}
	if l.stepState(m.job, "snapshot") == "succeeded" {
		wanted["snapshot"] = 1
	}
	if m.name != "" {
		wanted["machine"], wanted["volume"] = 1, 1
	}
	for _, kind := range []string{"machine", "volume", "snapshot"} {
		if live[kind] != wanted[kind] {
			l.t.Errorf("%s made %d of kind %s that are left, not %d", m.job, live[kind], kind,
				wanted[kind])
		}
	}
}

// hostOnce expects one mount of each kind, and, of a replica, one account.
func (l *lab) hostOnce(name string) {
	l.t.Helper()
	for _, path := range []string{"/srv/mariadb", "/var/lib/mysql"} {
		if n := l.mountsAt(name, path); n != 1 {
			l.t.Errorf("%s has %d mounts at %s, not one", name, n, path)
		}
	}
	if l.primaryOf(name) == "" {
		return
	}
	if got := l.sql(primary, "SELECT COUNT(*) FROM mysql.user WHERE User = 'us_"+name+
		"'"); got != "1" {
		l.t.Errorf("the primary has %s accounts for %s, not one", got, name)
	}
}

func (l *lab) mountsAt(host, path string) (n int) {
	l.t.Helper()
	for line := range strings.Lines(l.exec(host, "cat", "/proc/self/mountinfo")) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == path {
			n++
		}
	}
	return n
}

// primaryOf is whose replica a server is, by its record; empty when it is none.
func (l *lab) primaryOf(name string) string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	for _, s := range docs[serverDoc](l, db, "servers") {
		if s.Name == name {
			return s.Primary
		}
	}
	return ""
}
