package mariadb

import (
	"context"
	"crypto/sha1" //nolint:gosec // what MariaDB's plugin takes
	"encoding/hex"
	"fmt"
	"strings"
)

// Account is the account that one replica connects with.
type Account struct {
	User, Host, Password string
	RequireTLS           bool
}

// name is the account as SQL takes it.
func (a Account) name() string { return literal(a.User) + "@" + literal(a.Host) }

// nativeHash is what mysql_native_password keeps of a password. The agent hashes it itself, so that
// neither a log nor the binary log of MariaDB ever sees it.
func nativeHash(password string) string {
	once := sha1.Sum([]byte(password)) //nolint:gosec // see the import
	twice := sha1.Sum(once[:])         //nolint:gosec // see the import
	return "*" + strings.ToUpper(hex.EncodeToString(twice[:]))
}

// accountFacts is what an account is like now.
type accountFacts struct {
	exists, tls, usable, privileges, password bool
}

// EnsureAccount makes the account, with REPLICATION SLAVE alone and that password, and says what it
// changed.
func (s *Server) EnsureAccount(ctx context.Context, account Account) (changes []string, err error) {
	what := fmt.Sprintf("cannot make the replication account %s@%s", account.User, account.Host)
	err = s.change(ctx, what, func() error {
		facts, err := readAccount(ctx, s.db, account)
		if err != nil {
			return err
		}
		changes, err = s.changeAccount(ctx, account, facts)
		return withoutSecret(err, account.Password)
	})
	return changes, err
}

func readAccount(ctx context.Context, q querier, account Account) (accountFacts, error) {
	r, err := one(ctx, q, "SELECT JSON_VALUE(Priv, '$.plugin') AS plugin, JSON_VALUE(Priv, "+
		"'$.authentication_string') AS hash,"+
		" COALESCE(JSON_VALUE(Priv, '$.ssl_type'), 0) AS tls, COALESCE(JSON_VALUE(Priv, "+
		"'$.account_locked'), 'false') AS locked,"+
		" JSON_VALUE(Priv, '$.password_last_changed') AS changed, JSON_EXISTS(Priv, '$.auth_or') "+
		"AS alternatives"+
		" FROM mysql.global_priv WHERE User = ? AND Host = ?", account.User, account.Host)
	if err != nil || len(r) == 0 {
		return accountFacts{}, err
	}
	facts := accountFacts{
		exists: true, tls: r.number("tls") >= 1 == account.RequireTLS,
		usable: r["locked"] != "true" && r["locked"] != "1" && r["changed"] != "0" &&
			r.number("alternatives") == 0,
		password: r["plugin"] == "mysql_native_password" &&
			r["hash"] == nativeHash(account.Password),
	}
	facts.privileges, err = onlyReplicates(ctx, q, account)
	return facts, err
}

// onlyReplicates is true when the account has REPLICATION SLAVE and nothing else, anywhere.
func onlyReplicates(ctx context.Context, q querier, account Account) (bool, error) {
	rows, err := query(ctx, q, "SHOW GRANTS FOR "+account.name())
	if err != nil {
		return false, err
	}
	return len(rows) == 1 && strings.HasPrefix(first(rows[0]),
		"GRANT REPLICATION SLAVE ON *.* TO ") &&
		!strings.Contains(first(rows[0]), "WITH GRANT OPTION"), nil
}

// first is the value of a row of one column, whose name says who it is about.
func first(r row) string {
	for _, value := range r {
		return value
	}
	return ""
}

func (s *Server) changeAccount(ctx context.Context, account Account,
	facts accountFacts) ([]string, error) {
	var changes []string
	do := func(change, statement string) error {
		if err := s.unlogged(ctx, statement); err != nil {
			return err
		}
		changes = append(changes, change)
		return nil
	}
	if !facts.exists || !facts.password || !facts.tls || !facts.usable {
		if err := do(spoken(facts), definition(account, facts)); err != nil {
			return changes, err
		}
	}
	if facts.privileges {
		return changes, nil
	}
	if facts.exists {
		if err := execute(ctx, s.db, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM "+
			account.name()); err != nil {
			return changes, err
		}
	}
	return changes, do("granted", "GRANT REPLICATION SLAVE ON *.* TO "+account.name())
}

func spoken(facts accountFacts) string {
	switch {
	case !facts.exists:
		return "created"
	case !facts.password:
		return "password set"
	default:
		return "made usable again"
	}
}

// definition creates or repairs the account in one statement, so that it always requires TLS.
func definition(account Account, facts accountFacts) string {
	verb, require := "CREATE USER ", "NONE"
	if facts.exists {
		verb = "ALTER USER "
	}
	if account.RequireTLS {
		require = "SSL"
	}
	return verb + account.name() + " IDENTIFIED VIA mysql_native_password USING " +
		literal(nativeHash(account.Password)) +
		" REQUIRE " + require + " PASSWORD EXPIRE NEVER ACCOUNT UNLOCK"
}

// DeleteAccount drops the account and says whether there was one.
func (s *Server) DeleteAccount(ctx context.Context, user, host string) (found bool, err error) {
	what := fmt.Sprintf("cannot delete the replication account %s@%s", user, host)
	err = s.change(ctx, what, func() error {
		rows, err := query(ctx, s.db, "SELECT 1 FROM mysql.global_priv WHERE User = ? AND Host = ?",
			user, host)
		if found = len(rows) > 0; err != nil || !found {
			return err
		}
		return execute(ctx, s.db, "DROP USER IF EXISTS "+Account{User: user, Host: host}.name())
	})
	return found, err
}
