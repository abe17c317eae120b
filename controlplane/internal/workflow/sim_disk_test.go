package workflow_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// disk is what is on a volume.
type disk struct {
	fs, uuid, nonce string
	broken          bool // fsck cannot correct it
	data            *datadir
}

func (d *disk) clone() *disk {
	c := *d
	if d.data != nil {
		c.data = d.data.clone()
	}
	return &c
}

// txn is one transaction in a binary log.
type txn struct {
	server uint32
	seq    uint64
	table  string
	value  uint64
}

// datadir is a MariaDB datadir: tables, binary log, replication settings.
type datadir struct {
	version  string
	log      []txn
	oldest   uint64 // sequence number before the oldest binary log
	seq      uint64
	last     uint32 // server of the last transaction
	slavePos string
	tables   map[string]uint64
	unstable map[string]bool // tables of an engine without read views
	accounts map[string]string
	conn     *settings
	foreign  bool // replication settings and relay logs of the source
	reserved map[string]replication.Reservation
}

// settings is a replica's way to its primary.
type settings struct {
	host, user, password string
	port                 int
	io, sql              bool
	sqlErrno             int
	sqlError             string
}

func newDatadir(version string) *datadir {
	return &datadir{version: version, tables: map[string]uint64{}, accounts: map[string]string{},
		unstable: map[string]bool{},
		reserved: map[string]replication.Reservation{}}
}

func (d *datadir) clone() *datadir {
	c := *d
	c.log, c.tables = slices.Clone(d.log), maps.Clone(d.tables)
	c.accounts, c.unstable = maps.Clone(d.accounts), maps.Clone(d.unstable)
	c.reserved = map[string]replication.Reservation{}
	if d.conn != nil {
		conn := *d.conn
		c.conn = &conn
	}
	return &c
}

// write commits one transaction under a server_id.
func (d *datadir) write(server uint32, table string, value uint64) string {
	d.apply(txn{server: server, seq: d.seq + 1, table: table, value: value})
	return d.pos()
}

func (d *datadir) apply(t txn) {
	d.log = append(d.log, t)
	d.seq, d.last = t.seq, t.server
	d.tables[t.table] = d.tables[t.table]*31 + t.value
}

func (d *datadir) pos() string { return gtidOf(d.last, d.seq) }

func gtidOf(server uint32, seq uint64) string {
	if seq == 0 {
		return ""
	}
	return fmt.Sprintf("0-%d-%d", server, seq)
}

func (d *datadir) state() string {
	last := map[uint32]uint64{}
	for _, t := range d.log {
		last[t.server] = t.seq
	}
	var all []string
	for _, server := range slices.Sorted(maps.Keys(last)) {
		all = append(all, gtidOf(server, last[server]))
	}
	return strings.Join(all, ",")
}

func seqOf(gtid string) (seq uint64) {
	if gtid == "" {
		return 0
	}
	var domain, server uint32
	_, _ = fmt.Sscanf(gtid, "%d-%d-%d", &domain, &server, &seq)
	return seq
}
