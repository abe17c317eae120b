package mariadb

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/consistentpoint/wire"
	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// What one field may hold is in the proto file, and checked before a call comes here. Checked here
// is what it cannot say.

func orDefault(d *durationpb.Duration, fallback time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	return d.AsDuration()
}

func position(f *errs.Fields, field, text string) gtid.Position {
	p, err := gtid.ParsePosition(text)
	if err != nil {
		f.Add(field, err.Error())
	}
	return p
}

func settingsOf(r *agentv1.SetConfigurationRequest) (mariadb.Settings, error) {
	settings := mariadb.Settings{
		ServerID: r.GetServerId(), DomainID: r.GetGtidDomainId(), ReadOnly: r.GetReadOnly(),
		SkipReplicaStart: r.GetSkipReplicaStart(),
		EventScheduler:   r.GetEventScheduler(), LogSlaveUpdates: r.GetLogSlaveUpdates(),
		Strict: r.GetGtidStrictMode(), Bind: r.GetBindAddress(),
		Port: int(r.GetPort()), LogBin: r.GetLogBin(), TLS: r.GetTls(),
		ReportHost: r.GetReportHost(), Durable: r.GetDurable(),
		BinlogExpireSeconds: r.GetBinlogExpiry().GetSeconds(), Extra: r.GetOptions(),
		Contract: wire.FromProto(r.GetContract()),
	}
	f := errs.Fields{}
	settings.Check(f.Add)
	return settings, f.Err()
}

// accountPrefix begins the names of the accounts that replicas connect with.
const accountPrefix = "us_"

// ownAccount refuses accounts that are somebody else's.
func ownAccount(f *errs.Fields, user string) {
	f.Require("user", strings.HasPrefix(user, accountPrefix),
		"must begin with "+accountPrefix+": others are not the agent's to touch")
}

// checkAccount refuses accounts that MariaDB has for itself.
func checkAccount(f *errs.Fields, user string) {
	f.Require("user", user != "root" && user != "mysql" && !strings.HasPrefix(user, "mariadb."),
		"is an account of the system")
}
