package store

import "context"

// Documents keeps one document a server.
type Documents struct {
	tx    *Tx
	table string
}

// Proofs gives what continuous verification knows.
func (tx *Tx) Proofs() Documents { return Documents{tx: tx, table: "proofs"} }

// Histories gives what is known of the histories of binary logs.
func (tx *Tx) Histories() Documents { return Documents{tx: tx, table: "histories"} }

// Get reads a server's document; empty when there is none.
func (d Documents) Get(ctx context.Context, server string) (string, error) {
	known, err := rowsOf(ctx, d.tx, scanText, "SELECT doc FROM "+d.table+" WHERE server = ?",
		server)
	return first(known), err
}

// Put replaces a server's document; an empty one removes it.
func (d Documents) Put(ctx context.Context, server, doc string) error {
	_, err := d.tx.exec(ctx, "DELETE FROM "+d.table+" WHERE server = ?", server)
	if err != nil || doc == "" {
		return err
	}
	_, err = d.tx.exec(ctx, insertSQL(d.table, "server, doc"), server, doc)
	return err
}

// Servers are those with a document.
func (d Documents) Servers(ctx context.Context) ([]string, error) {
	return rowsOf(ctx, d.tx, scanText, "SELECT server FROM "+d.table)
}

// All are all documents, by server.
func (d Documents) All(ctx context.Context) (map[string]string, error) {
	type document struct{ server, doc string }
	all, err := rowsOf(ctx, d.tx, func(row scanner) (one document, err error) {
		err = row.Scan(&one.server, &one.doc)
		return one, err
	}, "SELECT server, doc FROM "+d.table)
	docs := make(map[string]string, len(all))
	for _, one := range all {
		docs[one.server] = one.doc
	}
	return docs, err
}
