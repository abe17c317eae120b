//go:build lab

package faults

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// labDir is where the provider keeps its records of a lab.
func (l *lab) labDir(parts ...string) string {
	return filepath.Join(append([]string{"/var/lib/understudy/labs", l.Name()}, parts...)...)
}

// machine, volume and snapshot are the provider's own records, read from its files.
type machine struct {
	ID, Name, Phase, Address string
	Leader                   int
	Tags                     map[string]string
}

type volume struct {
	ID, MachineID, SnapshotID string
	Default                   bool
	DeletedAt                 time.Time
	Tags                      map[string]string
}

type snapshot struct {
	ID, VolumeID, Error string
	CreatedAt           time.Time
	DeletedAt           time.Time
	Tags                map[string]string
}

func objects[T any](l *lab, kind string) map[string]T {
	l.t.Helper()
	files, err := filepath.Glob(l.labDir("records", kind, "*.json"))
	if err != nil {
		l.t.Fatal(err)
	}
	all := map[string]T{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			l.t.Fatal(err)
		}
		var object T
		if err := json.Unmarshal(data, &object); err != nil {
			l.t.Fatalf("%s: %v", file, err)
		}
		all[l.shownID(strings.TrimSuffix(filepath.Base(file), ".json"))] = object
	}
	return all
}

func (l *lab) machines() map[string]machine {
	all := objects[machine](l, "machine")
	for id, m := range all {
		m.ID = l.shownID(m.ID)
		all[id] = m
		if m.Phase == "terminated" {
			delete(all, id)
		}
	}
	return all
}

func (l *lab) volumes() map[string]volume {
	all := objects[volume](l, "volume")
	for id, v := range all {
		v.ID, v.MachineID, v.SnapshotID = l.shownID(v.ID), l.shownID(v.MachineID),
			l.shownID(v.SnapshotID)
		all[id] = v
		if !v.DeletedAt.IsZero() {
			delete(all, id)
		}
	}
	return all
}

func (l *lab) snapshots() map[string]snapshot {
	all := objects[snapshot](l, "snapshot")
	for id, s := range all {
		s.ID, s.VolumeID = l.shownID(s.ID), l.shownID(s.VolumeID)
		all[id] = s
		if !s.DeletedAt.IsZero() {
			delete(all, id)
		}
	}
	return all
}

// machineOf is the provider's machine of a host.
func (l *lab) machineOf(host string) machine {
	l.t.Helper()
	for _, m := range l.machines() {
		if m.Name == host {
			return m
		}
	}
	l.t.Fatalf("the provider has no machine %s", host)
	return machine{}
}

// socket is a host's MariaDB socket as this box sees it.
func (l *lab) socket(host string) string {
	return fmt.Sprintf("/proc/%d/root/run/mysqld/mysqld.sock", l.machineOf(host).Leader)
}

// The documents of the store, as far as the checker looks.
type serverDoc struct {
	Name, State, Role, Primary, MachineID, Address, DataVolume, Job string
	Port                                                            int
	ServerID                                                        uint32
	ReplicationConfigured, BinlogAutoPurge                          bool
	Mounts                                                          []struct {
		Volume string `json:"volume"`
		Path   string `json:"path"`
		FSUUID string `json:"fs_uuid"`
	}
}

type volumeDoc struct {
	ID, ProviderID, MachineID, Server, Snapshot, State string
	SizeBytes                                          int64
	ImageDefault                                       bool
}

type snapshotDoc struct {
	ID, Server, Volume, ProviderID, State, Job string
	Point                                      consistentpoint.Point
}

// store opens the control plane's store read-only, whether or not the control plane runs.
func (l *lab) store() *sql.DB {
	l.t.Helper()
	db, err := sql.Open("sqlite", "file:"+l.storePath()+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		l.t.Fatal(err)
	}
	return db
}

func (l *lab) storePath() string {
	return filepath.Join(filepath.Dir(l.Credentials()), "understudy.db")
}

// docs are the documents of a table of the store.
func docs[T any](l *lab, db *sql.DB, table string) []T {
	l.t.Helper()
	var all []T
	for _, row := range l.query(db, "SELECT doc FROM "+table+" WHERE state <> 'DELETED'") {
		var doc T
		if err := json.Unmarshal([]byte(row[0]), &doc); err != nil {
			l.t.Fatal(err)
		}
		all = append(all, doc)
	}
	return all
}

// query reads rows as text.
func (l *lab) query(db *sql.DB, statement string, args ...any) [][]string {
	l.t.Helper()
	rows, err := db.QueryContext(context.Background(), statement, args...)
	if err != nil {
		l.t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		l.t.Fatal(err)
	}
	var all [][]string
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			l.t.Fatal(err)
		}
		row := make([]string, len(columns))
		for i, v := range values {
			row[i] = v.String
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		l.t.Fatal(err)
	}
	return all
}

// stepState is a step's state in the store, for which the control plane need not answer.
func (l *lab) stepState(job, step string) string {
	db := l.store()
	defer db.Close()
	rows := l.query(db, "SELECT state FROM job_steps WHERE job_id = ? AND kind = ?",
		strings.TrimPrefix(job, "jobs/"), step)
	if len(rows) == 0 {
		return ""
	}
	return rows[0][0]
}
