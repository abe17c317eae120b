package mariadb

import (
	"cmp"
	"regexp"
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

// tableName names a table, or what else is in a schema; String is its name in answers.
type tableName struct{ schema, name string }

// String is one text for one name.
func (t tableName) String() string { return joined(t.schema, ".", t.name) }

// joined is one text for two: the first separator ends the first one, which is quoted where it has
// one itself.
func joined(first, separator, second string) string {
	if strings.ContainsAny(first, separator+"`") {
		first = identifier(first)
	}
	return first + separator + second
}

// compare sorts by the bytes of schema and name.
func (t tableName) compare(other tableName) int {
	return cmp.Or(strings.Compare(t.schema, other.schema), strings.Compare(t.name, other.name))
}

// tableNamed is the table that has that name in answers.
func tableNamed(text string) tableName {
	if quoted := quotedSchema.FindStringSubmatch(text); quoted != nil {
		return tableName{strings.ReplaceAll(quoted[1], "``", "`"), quoted[2]}
	}
	schema, name, _ := strings.Cut(text, ".")
	return tableName{schema, name}
}

var quotedSchema = regexp.MustCompile("(?s)^`((?:[^`]|``)+)`\\.(.*)$")
