package store

import (
	"context"
	"strconv"
)

// Settle gives a fact of the store, which it makes value when there is none. The first one counts
// for ever.
func (tx *Tx) Settle(ctx context.Context, name, value string) (settled string, err error) {
	known, err := rowsOf(ctx, tx, scanText, "SELECT value FROM facts WHERE name = ?", name)
	if err != nil || len(known) > 0 {
		return first(known), err
	}
	_, err = tx.exec(ctx, insertSQL("facts", "name, value"), name, value)
	if tx.engine.duplicate(err) { // another process did, between the two statements
		known, err = rowsOf(ctx, tx, scanText, "SELECT value FROM facts WHERE name = ?", name)
		return first(known), err
	}
	return value, err
}

// Fact gives a fact of the store, which is empty when there is none.
func (tx *Tx) Fact(ctx context.Context, name string) (string, error) {
	known, err := rowsOf(ctx, tx, scanText, "SELECT value FROM facts WHERE name = ?", name)
	return first(known), err
}

// Resettle gives a fact that is settled another value.
func (tx *Tx) Resettle(ctx context.Context, name, value string) error {
	_, err := tx.exec(ctx, "UPDATE facts SET value = ? WHERE name = ?", value, name)
	return err
}

func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

// generationFact has the control plane's generation.
const generationFact = "generation"

// Generation is that of the control plane: the time at which it was made or last restored, in
// milliseconds.
func (tx *Tx) Generation(ctx context.Context) (int64, error) {
	settled, err := tx.Settle(ctx, generationFact, strconv.FormatInt(millis(tx.now), 10))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(settled, 10, 64)
}

// Probe changes a fact that nobody reads: its commit shows that the store takes writes.
func (tx *Tx) Probe(ctx context.Context) error {
	return tx.replace(ctx, "probe", strconv.FormatInt(millis(tx.now), 10))
}

// replace gives a fact a new value.
func (tx *Tx) replace(ctx context.Context, name, value string) error {
	if _, err := tx.exec(ctx, "DELETE FROM facts WHERE name = ?", name); err != nil {
		return err
	}
	_, err := tx.exec(ctx, insertSQL("facts", "name, value"), name, value)
	return err
}
