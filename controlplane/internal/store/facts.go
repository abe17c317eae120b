package store

import "context"

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

func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}
