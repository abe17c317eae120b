package store

import "context"

// Proofs keeps what continuous verification knows, one document a server.
type Proofs struct{ tx *Tx }

// Proofs gives what continuous verification knows.
func (tx *Tx) Proofs() Proofs { return Proofs{tx: tx} }

// Get reads a server's document; empty when there is none.
func (p Proofs) Get(ctx context.Context, server string) (string, error) {
	known, err := rowsOf(ctx, p.tx, scanText, "SELECT doc FROM proofs WHERE server = ?", server)
	return first(known), err
}

// Put replaces a server's document; an empty one removes it.
func (p Proofs) Put(ctx context.Context, server, doc string) error {
	_, err := p.tx.exec(ctx, "DELETE FROM proofs WHERE server = ?", server)
	if err != nil || doc == "" {
		return err
	}
	_, err = p.tx.exec(ctx, insertSQL("proofs", "server, doc"), server, doc)
	return err
}

// Servers are those with a document.
func (p Proofs) Servers(ctx context.Context) ([]string, error) {
	return rowsOf(ctx, p.tx, scanText, "SELECT server FROM proofs")
}
