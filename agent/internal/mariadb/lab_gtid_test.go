//go:build lab

package mariadb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/proto/gtid"
)

// position is one as MariaDB takes it, over few domains and numbers, so that draws meet.
func position(t *rapid.T, label string) gtid.Position {
	return gtid.Of(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) gtid.GTID {
		return gtid.GTID{Domain: rapid.Uint32Range(0, 3).Draw(t, "domain"),
			ServerID: rapid.Uint32Range(1, 3).Draw(t, "server"),
			Sequence: rapid.Uint64Range(1, 6).Draw(t, "sequence")}
	}), 0, 5).Draw(t, label)...)
}

// someText is a position as a person or another program may write it, right or wrong.
func someText(t *rapid.T) string {
	number := rapid.SampledFrom([]string{"0", "1", "2", "7", "007", "4294967295", "4294967296",
		"18446744073709551615", "18446744073709551616", "", "-1", "+1", "x", "1 ", " 1", "1.0",
		"0x1"})
	usual := rapid.SampledFrom([]string{"0", "1", "2", "3", "4294967295"})
	part := func() string {
		if rapid.IntRange(0, 7).Draw(t, "odd") == 0 {
			return number.Draw(t, "number")
		}
		return usual.Draw(t, "number")
	}
	var items []string
	for range rapid.IntRange(0, 4).Draw(t, "items") {
		item := part() + "-" + part() + "-" + part()
		if rapid.IntRange(0, 9).Draw(t, "more") == 0 {
			item += rapid.SampledFrom([]string{"-1", "-", "x", " ", "\n", ","}).Draw(t, "tail")
		}
		items = append(items, item)
	}
	return rapid.SampledFrom([]string{"", "", "", "", " ", ","}).Draw(t, "lead") +
		strings.Join(items, rapid.SampledFrom([]string{",", ",", ",", ", ", " ,", ",\n", ";",
			",,"}).Draw(t, "comma"))
}

// TestPositionsAreReadAsTheServerReadsThem gives the server what our parser is given: both take it,
// and mean the same, or both refuse.
func TestPositionsAreReadAsTheServerReadsThem(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Config: "skip_log_bin"})
		taken, refused := 0, 0
		rapid.Check(t, func(t *rapid.T) {
			text := someText(t)
			ours, ourErr := gtid.ParsePosition(text)
			_, theirErr := i.DB.ExecContext(context.Background(), "SET GLOBAL gtid_slave_pos = ?",
				text)
			if (ourErr == nil) != (theirErr == nil) && !deliberate(text) {
				t.Fatalf("%q: ours %v, the server's %v", text, ourErr, theirErr)
			}
			if ourErr != nil || theirErr != nil {
				refused++
				return
			}
			taken++
			theirs, err := gtid.ParsePosition(i.Value("SELECT @@GLOBAL.gtid_slave_pos"))
			if err != nil || !theirs.Equal(ours) || theirs.String() != ours.String() {
				t.Fatalf("%q is %q to the server and %q to us: %v", text, theirs, ours, err)
			}
		})
		if taken == 0 || refused == 0 {
			t.Errorf("%d were taken, %d refused: the draws are too narrow", taken, refused)
		}
	})
}

// deliberate are the texts that only one of both takes, on purpose: the server reads numbers as C
// does, with blanks and a sign before them, and takes no blanks behind them; we take blanks and
// line breaks around the commas, and no sign.
func deliberate(text string) bool {
	return strings.ContainsAny(text, " \n+") || strings.Contains(text, "--") ||
		strings.Contains(text, ",-") || strings.HasPrefix(text, "-")
}

// TestPositionsAreOrderedAsTheServerOrdersThem asks the server whether one position has another
// one's transactions.
func TestPositionsAreOrderedAsTheServerOrdersThem(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Config: "skip_log_bin"})
		reached, missing := 0, 0
		rapid.Check(t, func(t *rapid.T) {
			at, target := position(t, "at"), position(t, "target")
			if _, err := i.DB.ExecContext(context.Background(), "SET GLOBAL gtid_slave_pos = ?",
				at.String()); err != nil {
				t.Fatal(err)
			}
			var waited int
			if err := i.DB.QueryRowContext(context.Background(), "SELECT MASTER_GTID_WAIT(?, 0)",
				target.String()).Scan(&waited); err != nil {
				t.Fatal(err)
			}
			// The server looks at the numbers alone. For us another server's transaction under the
			// same number is another one.
			has := at.Missing(target) == 0
			if has != (waited == 0) {
				t.Fatalf("at %q, target %q: the server says %d, Missing is %d", at, target, waited,
					at.Missing(target))
			}
			if at.Contains(target) && waited != 0 {
				t.Fatalf("%q contains %q, and the server waits", at, target)
			}
			if !at.Contains(target) && waited == 0 && at.Compare(target) != gtid.Diverged {
				t.Fatalf("%q has reached %q, and does not contain it: %v", at, target,
					at.Compare(target))
			}
			if waited == 0 {
				reached++
			} else {
				missing++
			}
		})
		if reached == 0 || missing == 0 {
			t.Errorf("%d were reached, %d not: the draws are too narrow", reached, missing)
		}
	})
}

// TestTheBinlogsStateIsReadAsTheServerReadsIt writes transactions of several domains and servers,
// in any order, and compares what we make of the state with the server's own position, and the
// position of each event with BINLOG_GTID_POS.
func TestTheBinlogsStateIsReadAsTheServerReadsIt(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("CREATE DATABASE shop")
		conn, err := i.DB.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		rapid.Check(t, func(t *rapid.T) {
			run(t, conn, "RESET MASTER")
			for range rapid.IntRange(1, 8).Draw(t, "transactions") {
				g := position(t, "gtid").GTIDs()
				if len(g) == 0 {
					continue
				}
				run(
					t, conn, fmt.Sprintf(
						"SET SESSION gtid_domain_id = %d, server_id = %d, gtid_seq_no = %d",
						g[0].Domain, g[0].ServerID, g[0].Sequence))
				run(t, conn, "CREATE OR REPLACE TABLE shop.t (id INT)")
			}
			state, theirs := value(t, conn, "SELECT @@GLOBAL.gtid_binlog_state"),
				value(t, conn, "SELECT @@GLOBAL.gtid_binlog_pos")
			ours, err := gtid.ParseState(state)
			if err != nil || ours.String() != inOrder(t, theirs) {
				t.Fatalf("the state %q is %q to the server and %q to us: %v", state, theirs, ours,
					err)
			}
			var file string
			var at int
			var skip sql.RawBytes
			if err := one(conn, "SHOW MASTER STATUS", &file, &at, &skip, &skip); err != nil {
				t.Fatal(err)
			}
			if byFile := value(t, conn, fmt.Sprintf("SELECT BINLOG_GTID_POS('%s', %d)", file,
				at)); inOrder(t, byFile) != ours.String() {
				t.Fatalf("BINLOG_GTID_POS(%s, %d) is %q, the state %q is %q to us", file, at,
					byFile, state, ours)
			}
		})
	})
}

func run(t *rapid.T, conn *sql.Conn, statement string) {
	if _, err := conn.ExecContext(context.Background(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func one(conn *sql.Conn, query string, into ...any) error {
	rows, err := conn.QueryContext(context.Background(), query)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return errors.Join(errors.New("no row"), rows.Err())
	}
	return rows.Scan(into...)
}

func value(t *rapid.T, conn *sql.Conn, query string) string {
	var text sql.NullString
	if err := one(conn, query, &text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text.String
}

func inOrder(t *rapid.T, text string) string {
	p, err := gtid.ParsePosition(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return p.String()
}
