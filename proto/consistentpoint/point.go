// Package consistentpoint has what is true of a MariaDB server at the point at which its data
// volume is snapshotted. The agent reads it while the server is quiesced; the control plane keeps
// it with the snapshot and compares each copy with it.
package consistentpoint

import "time"

// Point is what was read at a consistent point. It is a plain value; its JSON is what is stored.
type Point struct {
	Replica        bool   `json:"replica,omitempty"` // the server is itself a replica
	ServerID       uint32 `json:"server_id"`
	DomainID       uint32 `json:"domain_id,omitempty"`
	ServerVersion  string `json:"server_version"`
	DatadirVersion string `json:"datadir_version,omitempty"`

	BinlogPos    string `json:"binlog_pos,omitempty"`    // @@gtid_binlog_pos
	SlavePos     string `json:"slave_pos,omitempty"`     // @@gtid_slave_pos
	CurrentPos   string `json:"current_pos,omitempty"`   // @@gtid_current_pos
	BinlogState  string `json:"binlog_state,omitempty"`  // @@gtid_binlog_state
	BinlogFile   string `json:"binlog_file,omitempty"`   // current binary log
	BinlogOffset int64  `json:"binlog_offset,omitempty"` // in bytes

	FilesystemUUID  string `json:"filesystem_uuid"`
	Filesystem      string `json:"filesystem"` // type
	Datadir         string `json:"datadir"`    // path on the host
	DatadirOnVolume string `json:"datadir_on_volume,omitempty"`
	// Nonce was written onto the volume just before, so that a copy proves where it comes from.
	Nonce string `json:"nonce"`
	// Contract is what a host needs to read a copy.
	Contract *Contract `json:"contract,omitempty"`

	At time.Time `json:"at"`
}

// Position is the GTID position that a copy starts replication from: what the server had in its
// binary log, or had applied when it was itself a replica.
func (p Point) Position() string {
	if p.Replica {
		return p.SlavePos
	}
	return p.BinlogPos
}
