package workflow

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
	roleMachine  = "machine"
	roleData     = "data"
	roleDefault  = "default"
	roleSnapshot = "snapshot"
)

// The fixed places on a host.
const (
	dataMount   = "/srv/mariadb"
	dataDir     = "/srv/mariadb/mysql"
	datadirPath = "/var/lib/mysql"
	mariadbUnit = "mariadb.service"
)

// mariadbSockets can wake a stopped MariaDB by a connection.
var mariadbSockets = [...]string{"mariadb.socket", "mariadb-extra.socket"}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

// clientToken is the token of a provider's creation: short, printable, the same for each attempt.
func clientToken(effectKey string) string { return digest("token", effectKey)[:40] }

// volumeID is the id of the record of a volume that was made under a key.
func volumeID(effectKey string) string { return "vol-" + digest("volume", effectKey)[:12] }

// nonceOf is what a hold writes into the volume.
func nonceOf(effectKey string) string { return digest("nonce", effectKey)[:40] }

// filesystemUUID is the identity of the filesystem on a volume of ours, minted with the volume.
func filesystemUUID(v inventory.Volume) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("understudy:filesystem:"+v.EffectKey)).String()
}

// accountOf is the replication account of one replica.
func accountOf(server string) string { return "us_" + strings.ReplaceAll(server, "-", "_") }

// accountHost is where the account may connect from: TLS and its password guard it, and addresses
// change.
const accountHost = "%"

func sprintf(format string, args ...any) string {
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

func sizeOf(bytes int64) string {
	const unit = 1024
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, i := float64(bytes), -1
	for value >= unit && i < 3 {
		value, i = value/unit, i+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[i])
}
