package mariadb

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestLiteral(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "''", "a'b": "'a''b'", `a\b`: `'a\\b'`, `\'`: `'\\'''`, "a\nb\x00": `'a\nb\0'`,
		`"`: `'"'`,
	} {
		if got := literal(text); got != want {
			t.Errorf("%q is %s, not %s", text, got, want)
		}
	}
}

// A literal ends where it should: no text can leave it.
func TestNoTextLeavesItsLiteral(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("'\\\"`;-\x00\n aé"))).Draw(t, "text")
		body := strings.TrimSuffix(strings.TrimPrefix(literal(text), "'"), "'")
		for i := 0; i < len(body); i++ {
			switch {
			case body[i] == '\\', body[i] == '\'' && i+1 < len(body) && body[i+1] == '\'':
				i++
			case body[i] == '\'':
				t.Fatalf("%q ends at %d of %s", text, i, body)
			}
		}
	})
}

func TestIdentifier(t *testing.T) {
	t.Parallel()
	if got := (tableName{"a`b", "c.d"}).sql(); got != "`a``b`.`c.d`" {
		t.Error(got)
	}
}

func TestNoErrorHoldsASecret(t *testing.T) {
	t.Parallel()
	const secret = `p'w\d`
	for _, text := range []string{"near 'MASTER_PASSWORD = 'p''w\\\\d''", "user p'w\\d"} {
		err := failure("cannot configure replication",
			withoutSecret(&mysql.MySQLError{Number: 1210, Message: text}, secret))
		if strings.Contains(err.Error(), "w\\d") || strings.Contains(errs.MetaOf(err)["text"],
			"w\\d") || errs.MetaOf(err)["errno"] != "1210" {
			t.Errorf("%v %v", err, errs.MetaOf(err))
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for reason, err := range map[errorsv1.Reason]error{
		errorsv1.Reason_REASON_MARIADB_ERROR: &mysql.MySQLError{Number: 1064, Message: "x"},
		errorsv1.Reason_REASON_MARIADB_DOWN:  mysql.ErrInvalidConn,
		errorsv1.Reason_REASON_INTERNAL:      errors.New("x"),
	} {
		if got := failure("cannot", err); errs.ReasonOf(got) != reason || !errors.Is(got, err) {
			t.Errorf("%v is %v", err, got)
		}
	}
	if failure("cannot", nil) != nil {
		t.Error("nil became an error")
	}
}

func TestDefinitionHash(t *testing.T) {
	t.Parallel()
	const a = "CREATE TABLE `t` (\n  `id` int COMMENT 'x AUTO_INCREMENT=3'\n) ENGINE=InnoDB " +
		"AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4"
	if definitionHash(a) != definitionHash(strings.Replace(a, " AUTO_INCREMENT=7", "", 1)) {
		t.Error("the counter counts")
	}
	if definitionHash(a) == definitionHash(strings.Replace(a, "=3'", "=4'", 1)) {
		t.Error("a comment does not count")
	}
}

func TestNativeHash(t *testing.T) {
	t.Parallel()
	if got := nativeHash("password"); got != "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19" {
		t.Error(got)
	}
}
