package mariadb

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

var (
	hostPattern    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._:-]{0,58}[A-Za-z0-9])?$`)
	accountPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$`)
	noncePattern   = regexp.MustCompile(`^[0-9a-f]{32,64}$`)
	logPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\.[0-9]{6,10}$`)
	datadirPattern = regexp.MustCompile(`^/[A-Za-z0-9._/-]{1,254}$`)
)

// within is a duration that may be left out.
func within(field string, d *durationpb.Duration, fallback,
	most time.Duration) (time.Duration, error) {
	f := errs.Fields{}
	got := duration(&f, field, d, fallback, most)
	return got, f.Err()
}

func duration(f *errs.Fields, field string, d *durationpb.Duration, fallback,
	most time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	got := d.AsDuration()
	f.Require(field, d.CheckValid() == nil && got > 0 && got <= most,
		fmt.Sprintf("must be more than 0 and at most %s", most))
	return got
}

// seconds is a duration of whole seconds, 0 when absent; what it may be at most is checked by who
// uses it.
func seconds(f *errs.Fields, field string, d *durationpb.Duration) int64 {
	f.Require(field, d == nil || d.CheckValid() == nil && d.GetNanos() == 0,
		"must be in whole seconds")
	return d.GetSeconds()
}

func position(f *errs.Fields, field, text string) gtid.Position {
	p, err := gtid.ParsePosition(text)
	if err != nil {
		f.Add(field, err.Error())
	}
	return p
}

// secret checks a password: it must fit on one line of MariaDB's file of replication settings.
func secret(f *errs.Fields, field, text string) {
	f.Require(field, text != "", "is missing")
	f.Require(field, utf8.ValidString(text) && len(text) <= 64, "must be at most 64 bytes of UTF-8")
	f.Require(field, !strings.ContainsFunc(text, unicode.IsControl),
		"must not have control characters")
}

func checkDatadir(r *agentv1.PrepareDatadirRequest) error {
	f := errs.Fields{}
	dir, nonce := r.GetDatadir(), r.GetExpectedNonce()
	f.Require("datadir", dir == "" || datadirPattern.MatchString(dir) &&
		!strings.Contains(dir, ".."), "must be an absolute path")
	f.Require("expected_nonce", nonce == "" || noncePattern.MatchString(nonce),
		"must be 32 to 64 characters of 0-9 and a-f")
	f.Require("copy", !r.GetCopy() || !r.GetInitialize(), "and initialize exclude each other")
	return f.Err()
}

func settingsOf(r *agentv1.SetConfigurationRequest) (mariadb.Settings, error) {
	settings := mariadb.Settings{
		ServerID: r.GetServerId(), DomainID: r.GetGtidDomainId(), ReadOnly: r.GetReadOnly(),
		SkipReplicaStart: r.GetSkipReplicaStart(),
		EventScheduler:   r.GetEventScheduler(), LogSlaveUpdates: r.GetLogSlaveUpdates(),
		Strict: r.GetGtidStrictMode(), Bind: r.GetBindAddress(),
		Port: int(r.GetPort()), LogBin: r.GetLogBin(), TLS: r.GetTls(),
		ReportHost: r.GetReportHost(), Durable: r.GetDurable(),
		Extra: r.GetOptions(),
	}
	f := errs.Fields{}
	settings.BinlogExpireSeconds = seconds(&f, "binlog_expiry", r.GetBinlogExpiry())
	settings.Check(f.Add)
	return settings, f.Err()
}

func accountOf(f *errs.Fields, user, host string) {
	f.Require("user", accountPattern.MatchString(user),
		"must be 1 to 80 of letters, digits, '_', '.' and '-', and begin with a letter or digit")
	f.Require("user", user != "root" && user != "mysql" && !strings.HasPrefix(user, "mariadb."),
		"is an account of the system")
	f.Require("host", host == "%" || hostPattern.MatchString(host),
		"must be one host or address, or %")
}

// tables are names as "schema.table".
func tables(f *errs.Fields, names []string) {
	const most = 10000
	f.Require("tables", len(names) <= most, fmt.Sprintf("must be at most %d", most))
	for i, name := range names {
		schema, table, ok := strings.Cut(name, ".")
		if !ok || schema == "" || table == "" || len(name) > 400 ||
			strings.ContainsAny(name, "\x00\n") {
			f.Add(fmt.Sprintf("tables[%d]", i), `must be like "schema.table"`)
			return
		}
	}
}
