package store

import "database/sql"

// engine is what differs between the databases beside the connection: which errors mean what.
type engine interface {
	// again reports whether the whole transaction is to be run again.
	again(err error) bool
	// passing reports whether the trouble is the database's and will pass.
	passing(err error) bool
	// duplicate reports whether a row of that key is there already.
	duplicate(err error) bool
	// writeOptions are the options of a transaction that changes records.
	writeOptions() *sql.TxOptions
	// readOptions are the options of a transaction that changes nothing.
	readOptions() *sql.TxOptions
	// sizeQuery reads the bytes that the records take.
	sizeQuery() string
}
