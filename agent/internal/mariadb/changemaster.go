package mariadb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	connectRetry    = 2 * time.Second
	heartbeatPeriod = 5 * time.Second
)

// Primary is who a replica follows, and as whom.
type Primary struct {
	Host           string
	Port           int
	User, Password string
	// Certificate has MariaDB sign in with its own certificate instead of a password.
	Certificate bool
	// TLS verifies the primary's certificate against the agent's own authority.
	TLS bool
	// Force writes the settings also when they look right: the password cannot be read back.
	Force bool
}

// Configure points this server to its primary, by GTID.
func (rp *Replica) Configure(ctx context.Context,
	primary Primary) (changes []string, now Replication, err error) {
	const what = "cannot configure replication"
	db := rp.server.db
	err = rp.server.change(ctx, what, func() error {
		if err := rp.dropNameless(ctx); err != nil {
			return err
		}
		if err := fitToReplicate(ctx, db, what); err != nil {
			return err
		}
		if primary.Certificate && rp.server.certificate().Server == "" {
			return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
				what+": MariaDB has no certificate that it can sign in with",
				errs.WithHint("renew the certificates of this host",
					errs.Call("RenewCertificates")))
		}
		current, configured, err := defaultReplication(ctx, db)
		if err != nil {
			return err
		}
		wrong := differences(current, primary, rp.server.tls)
		// The same certificate again would be refused again: what is wrong is not here.
		mend := primary.Force || refused(current.IOErrno) && !primary.Certificate
		if configured && len(wrong) == 0 && !mend {
			now = current
			return nil
		}
		if !configured {
			wrong = []string{fmt.Sprintf("primary set to %s:%d", primary.Host, primary.Port)}
		} else if len(wrong) == 0 {
			wrong = []string{"credentials set"}
		}
		if configured {
			if err := stopThreads(ctx, db, current, false); err != nil {
				return err
			}
		}
		err = rp.server.unlogged(ctx, changeMaster(primary, rp.server.tls))
		if errno(err) == errMasterInfo { // torn: what it describes is fetched again
			if err = rp.discardRelayState(ctx, ""); err == nil {
				err = rp.server.unlogged(ctx, changeMaster(primary, rp.server.tls))
			}
		}
		if err != nil {
			return withoutSecret(err, primary.Password)
		}
		if err := rp.rememberFollowed(ctx, primary); err != nil {
			return err
		}
		changes = wrong
		now, _, err = defaultReplication(ctx, db)
		return err
	})
	return changes, now, err
}

// fitToReplicate checks the invariants of a replica: it is read-only, and there is one primary.
func fitToReplicate(ctx context.Context, q querier, what string) error {
	v, err := variables(ctx, q, liveVariables()...)
	if err != nil {
		return err
	}
	live := fromVariables(v)
	if !live.ReadOnly {
		return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING, what+": this server is not read-only",
			errs.WithHint("make it read-only first", errs.Call("SetReadOnly", "read_only", "true")))
	}
	if own := errantTransactions(live); own != "" {
		return unsafe(errorsv1.Reason_REASON_GTID_ERRANT,
			what+": this server wrote "+own+" itself, past the position "+live.Gtid.Slave+
				" that it replicates from",
			errs.WithHint("rebuild the replica", errs.Call("RebuildReplica")),
			errs.Meta("gtid", own))
	}
	all, err := replications(ctx, q)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Connection != "" {
			return unsafe(errorsv1.Reason_REASON_WRONG_ROLE,
				fmt.Sprintf("%s: connection %q to %s is configured as well", what, r.Connection,
					r.Host),
				errs.WithHint("remove it (RESET SLAVE ALL)", errs.Call("PrepareReplica")),
				errs.Meta("connection", r.Connection))
		}
	}
	return nil
}

// errantTransactions are those that this server logged under its own id past the position that it
// replicates from.
func errantTransactions(live Live) string {
	own, err := gtid.ParsePosition(ownTransactions(live))
	if err != nil {
		return ""
	}
	slave, err := gtid.ParsePosition(live.Gtid.Slave)
	if err != nil {
		return ""
	}
	return own.Beyond(slave).String()
}

// differences say what is not as it should be.
func differences(is Replication, primary Primary, tls TLSFiles) []string {
	var wrong []string
	note := func(differs bool, format string, args ...any) {
		if differs {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	note(is.Host != primary.Host || is.Port != primary.Port, "primary changed from %s:%d to %s:%d",
		is.Host, is.Port, primary.Host, primary.Port)
	note(is.User != primary.User, "user changed from %s to %s", is.User, primary.User)
	note(is.UsingGtid != "Slave_Pos", "position by GTID instead of %q", is.UsingGtid)
	note(is.TLS != primary.TLS || is.TLSVerify != primary.TLS, "TLS with verification turned %s",
		map[bool]string{true: "on", false: "off"}[primary.TLS])
	note(primary.TLS && is.CAFile != tls.CA, "authority changed from %q", is.CAFile)
	note(is.signsInWith(tls) != primary.Certificate, "signs in with a %s",
		map[bool]string{true: "certificate", false: "password"}[primary.Certificate])
	return append(wrong, is.repaired()...)
}

// refused is an error that other credentials may cure.
func refused(number int) bool {
	switch number {
	case 1045, 1698, 1130, 1820, 1862, 4151, 2026:
		return true
	}
	return false
}

// changeMaster is the statement that sets the primary.
func changeMaster(primary Primary, tls TLSFiles) string {
	settings := []string{
		"MASTER_HOST = " + literal(primary.Host), fmt.Sprintf("MASTER_PORT = %d", primary.Port),
		"MASTER_USER = " + literal(primary.User), "MASTER_PASSWORD = " + literal(primary.Password),
		"MASTER_USE_GTID = slave_pos",
		fmt.Sprintf("MASTER_CONNECT_RETRY = %d", int(connectRetry.Seconds())),
		fmt.Sprintf("MASTER_HEARTBEAT_PERIOD = %d", int(heartbeatPeriod.Seconds())),
		"MASTER_DELAY = 0", "DO_DOMAIN_IDS = ()", "IGNORE_DOMAIN_IDS = ()",
		"IGNORE_SERVER_IDS = ()",
	}
	// Always written: from 11.4 on verification is the default.
	if primary.TLS {
		settings = append(settings, "MASTER_SSL = 1", "MASTER_SSL_CA = "+literal(tls.CA))
	} else {
		settings = append(settings, "MASTER_SSL = 0", "MASTER_SSL_CA = ''")
	}
	cert, key := "", ""
	if primary.Certificate {
		cert, key = tls.Cert, tls.Key
	}
	settings = append(settings, "MASTER_SSL_CERT = "+literal(cert),
		"MASTER_SSL_KEY = "+literal(key))
	return "CHANGE MASTER TO " + strings.Join(append(settings, verify(primary.TLS)), ", ")
}

// verify is the setting that has the primary's certificate verified, or not.
func verify(on bool) string {
	if on {
		return "MASTER_SSL_VERIFY_SERVER_CERT = 1"
	}
	return "MASTER_SSL_VERIFY_SERVER_CERT = 0"
}
