package mariadb

import (
	"strings"
)

// literal is text as a string literal of SQL, for statements that cannot be prepared (CHANGE
// MASTER). It is right under the empty sql_mode that every connection of the agent sets, where a
// backslash escapes.
func literal(text string) string { return "'" + literalBody(text) + "'" }

func literalBody(text string) string {
	return strings.NewReplacer(`\`, `\\`, `'`, `''`, "\x00", `\0`, "\n", `\n`, "\r", `\r`, "\x1a",
		`\Z`).Replace(text)
}

// identifier is a name as SQL takes it.
func identifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// table is a table's full name as SQL takes it.
func (t tableName) sql() string { return identifier(t.schema) + "." + identifier(t.name) }

// tableName names a table; String is its name in answers.
type tableName struct{ schema, name string }

func (t tableName) String() string { return t.schema + "." + t.name }
