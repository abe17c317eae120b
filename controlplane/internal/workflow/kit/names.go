package kit

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// The tags that everything made at a provider carries, so that it is found again without its id.
const (
	TagFleet    = "understudy:fleet"
	TagJob      = "understudy:job"
	TagStep     = "understudy:step" // effect key
	TagServer   = "understudy:server"
	TagRole     = "understudy:role" // "machine", "data", "default", "snapshot"
	TagSnapshot = "understudy:snapshot"
)

// The roles of what is made at a provider.
const (
	RoleMachine  = "machine"
	RoleData     = "data"
	RoleDefault  = "default"
	RoleSnapshot = "snapshot"
)

// The steps that other families' hints name.
const (
	StepCreateMachine = "create_machine"
	StepSwapVolume    = "swap_volume"
)

// The fixed places on a host.
const (
	DataMount   = "/srv/mariadb"
	DataDir     = "/srv/mariadb/mysql"
	DatadirPath = "/var/lib/mysql"
	MariaDBUnit = "mariadb.service"
)

// MariaDBSockets can wake a stopped MariaDB by a connection.
var MariaDBSockets = [...]string{"mariadb.socket", "mariadb-extra.socket"}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// ClientToken is the token of a provider's creation: short, printable, the same for each attempt.
func ClientToken(effectKey string) string { return digest("token", effectKey)[:40] }

// VolumeID is the id of the record of a volume that was made under a key.
func VolumeID(effectKey string) string { return "vol-" + digest("volume", effectKey)[:12] }

// Nonce is what a hold writes into the volume.
func Nonce(effectKey string) string { return digest("nonce", effectKey)[:40] }

// FilesystemUUID is the identity of the filesystem on a volume of ours, minted with the volume.
func FilesystemUUID(v inventory.Volume) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("understudy:filesystem:"+v.EffectKey)).String()
}

// Account is the replication account of one replica.
func Account(server string) string { return "us_" + strings.ReplaceAll(server, "-", "_") }

// AnyHost is the host of an account that may connect from anywhere.
const AnyHost = "%"
