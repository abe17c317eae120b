package workflowtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// Disk is what is on a volume.
type Disk struct {
	fs, UUID, Nonce string
	Broken          bool  // fsck cannot correct it
	Fills           int64 // what of its volume the filesystem takes, once it has grown
	Data            *Datadir
}

func (d *Disk) clone() *Disk {
	c := *d
	if d.Data != nil {
		c.Data = d.Data.clone()
	}
	return &c
}

// Txn is one transaction in a binary log.
type Txn struct {
	server uint32
	seq    uint64
	table  string
	value  uint64
}

// Datadir is a MariaDB datadir: tables, binary log, replication settings.
type Datadir struct {
	version  string
	log      []Txn
	begins   []int  // of the files of the log: how many transactions are before each
	Oldest   uint64 // sequence number before the oldest binary log
	seq      uint64
	last     uint32 // server of the last transaction
	slavePos string
	Tables   map[string]uint64
	Restless map[string]bool   // tables of an engine without read views, that change all the time
	Problems map[string]string // why tables cannot be read
	Renames  map[string]string // of tables: on a primary when it is their turn, then on a replica
	Remade   map[string]bool   // on a primary when it is their turn: its view has them as empty
	created  map[string]string
	Objects  map[string]kit.Object
	Accounts map[string]string
	ComeFrom map[string]string // hosts of the accounts
	Others   map[string]string // other hosts that the users still have accounts for
	Conn     *Settings
	Foreign  bool // replication settings and relay logs of the source
	Reserved map[string]replication.Reservation
}

// Settings is a replica's way to its primary.
type Settings struct {
	host, user, password string
	certificate          bool   // it signs in with what MariaDB has then, and no password
	signedIn             string // what it signed in with
	showed               string // certificate that its IO thread was restarted for
	port                 int
	IO, SQL              bool
	began                time.Time // of its IO thread
	SQLErrno             int
	SQLError             string
	readFile             string // of the primary's binary log
	readOffset           int64
}

func newDatadir(version string) *Datadir {
	return &Datadir{version: version, Tables: map[string]uint64{}, Restless: map[string]bool{},
		Accounts: map[string]string{}, ComeFrom: map[string]string{},
		Others:   map[string]string{},
		Objects:  map[string]kit.Object{},
		Reserved: map[string]replication.Reservation{}}
}

func (d *Datadir) clone() *Datadir {
	c := *d
	c.log, c.Tables = slices.Clone(d.log), maps.Clone(d.Tables)
	c.begins = slices.Clone(d.begins)
	c.Accounts, c.Restless = maps.Clone(d.Accounts), maps.Clone(d.Restless)
	c.Objects, c.ComeFrom = maps.Clone(d.Objects), maps.Clone(d.ComeFrom)
	c.Others = maps.Clone(d.Others)
	c.Reserved = map[string]replication.Reservation{}
	if d.Conn != nil {
		conn := *d.Conn
		c.Conn = &conn
	}
	return &c
}

// Write commits one transaction under a server_id.
func (d *Datadir) Write(server uint32, table string, value uint64) string {
	d.apply(Txn{server: server, seq: d.seq + 1, table: table, value: value})
	return d.Pos()
}

// rename gives a table its new name.
func (d *Datadir) rename(table string) {
	name := d.Renames[table]
	d.Tables[name] = d.Tables[table]
	d.created = map[string]string{name: "that of " + table}
	delete(d.Tables, table)
	delete(d.Renames, table)
}

// Purge deletes all binary logs but the last one, which is empty.
func (d *Datadir) Purge() { d.Oldest = d.seq }

func (d *Datadir) apply(t Txn) {
	d.log = append(d.log, t)
	d.seq, d.last = t.seq, t.server
	d.Tables[t.table] = d.Tables[t.table]*31 + t.value
}

// Pos is its gtid_binlog_pos.
func (d *Datadir) Pos() string { return gtidOf(d.last, d.seq) }

func gtidOf(server uint32, seq uint64) string {
	if seq == 0 {
		return ""
	}
	return fmt.Sprintf("0-%d-%d", server, seq)
}

func (d *Datadir) state() string {
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
