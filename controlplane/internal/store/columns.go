package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// scanner is a row, or the rows, of a result.
type scanner interface{ Scan(dest ...any) error }

// millis is how a time is kept: milliseconds since 1970, zero for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment scans what millis wrote.
type moment struct{ to *time.Time }

// Scan implements sql.Scanner.
func (m moment) Scan(src any) error {
	ms, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a time is kept as %T, want an integer", src)
	}
	*m.to = time.Time{}
	if ms != 0 {
		*m.to = time.UnixMilli(ms).UTC()
	}
	return nil
}

// encoded is how lists and small structures are kept.
func encoded(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", v, err)
	}
	return string(b), nil
}

// decoded scans what encoded wrote.
type decoded struct{ to any }

// Scan implements sql.Scanner.
func (d decoded) Scan(src any) error {
	switch text := src.(type) {
	case string:
		return json.Unmarshal([]byte(text), d.to)
	case []byte:
		return json.Unmarshal(text, d.to)
	}
	return fmt.Errorf("a structure is kept as %T, want text", src)
}

// searched is how texts are kept that a filter's text is looked for in.
func searched(texts ...string) string { return strings.ToLower(strings.Join(texts, "\n")) }

// flag is how a truth is kept.
func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func marks(n int) string {
	return strings.TrimSuffix(strings.Repeat("?, ", n), ", ")
}

func insertSQL(table, columns string) string {
	n := strings.Count(columns, ",") + 1
	return "INSERT INTO " + table + " (" + columns + ") VALUES (" + marks(n) + ")"
}

// conditions builds a WHERE clause from what a filter asks for.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) add(part string, args ...any) {
	c.parts = append(c.parts, part)
	c.args = append(c.args, args...)
}

// equal adds "column = value" unless value is empty.
func (c *conditions) equal(column, value string) {
	if value != "" {
		c.add(column+" = ?", value)
	}
}

// in adds "column IN (values)" unless there are none.
func in[V any](c *conditions, column string, values []V) {
	if len(values) == 0 {
		return
	}
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	c.add(column+" IN ("+marks(len(args))+")", args...)
}

// contains adds "column contains text, in any case" unless text is empty.
func (c *conditions) contains(column, text string) {
	if text != "" {
		c.add("INSTR(LOWER("+column+"), LOWER(?)) > 0", text)
	}
}

// within adds "column is at or after the first time, and before the second"; a zero time adds
// nothing.
func (c *conditions) within(column string, after, before time.Time) {
	if !after.IsZero() {
		c.add(column+" >= ?", millis(after))
	}
	if !before.IsZero() {
		c.add(column+" < ?", millis(before))
	}
}

// without adds "column NOT IN (values)" if it is to.
func (c *conditions) without(column string, apply bool, values ...any) {
	if apply {
		c.add(column+" NOT IN ("+marks(len(values))+")", values...)
	}
}

func (c *conditions) where() string {
	if len(c.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.parts, " AND ")
}
