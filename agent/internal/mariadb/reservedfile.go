package mariadb

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// reservedBlock ends the option file while binary logs are reserved: a MariaDB that starts deletes
// what is too old before anybody can tell it not to. The second option is one of 11.4 and later.
const reservedBlock = "# While binary logs are " +
	"reserved:\nbinlog_expire_logs_seconds=0\nloose_max_binlog_total_size=0\n"

// header begins an option file that has nothing else.
const header = "# Written by understudy-agent. Changes made by hand are overwritten.\n[mariadbd]\n"

// withReserved is the option file with the block, or without it.
func withReserved(content []byte, on bool) []byte {
	plain := bytes.TrimSuffix(content, []byte(reservedBlock))
	if !on {
		return plain
	}
	if len(plain) == 0 {
		plain = []byte(header)
	}
	return append(bytes.Clone(plain), reservedBlock...)
}

// keepInFile makes the option file keep binary logs, or not. Call it from reservationFile.change.
func (s *Server) keepInFile(on bool) error {
	old, err := os.ReadFile(s.config.DropIn)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot read MariaDB's option file: %w", err)
	}
	content := withReserved(old, on)
	if bytes.Equal(content, old) {
		return nil
	}
	if string(content) == header {
		err = os.Remove(s.config.DropIn)
	} else {
		_, err = atomicfile.Ensure(s.config.DropIn, content, 0o644, nil)
	}
	if err != nil {
		return diskError("cannot write MariaDB's option file", err)
	}
	return nil
}
