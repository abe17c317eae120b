// Package store keeps the control plane's records in SQLite (the default) or MariaDB, with one SQL
// text for both.
//
//	st, err := store.Open(ctx, store.Config{Path: "/var/lib/understudy/understudy.db"})
//	engine, err := job.New(job.Config[*store.Tx]{Store: st})
//	err = st.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
//		server, err := tx.Servers().Get(ctx, "db1")
//		…
//		return tx.Servers().Update(ctx, &server)
//	})
//
// A function given to Write is run again as a whole when the database asks for it: it computes what
// it writes from what it reads in the transaction, and has no other effects.
package store
