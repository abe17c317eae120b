package mariadb

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// reservedBlock ends the option file while binary logs are reserved: a MariaDB that starts deletes
// what is too old before anybody can tell it not to. The second option is one of 11.4 and later.
const reservedBlock = "# While binary logs are " +
	"reserved:\nbinlog_expire_logs_seconds=0\nloose_max_binlog_total_size=0\n"

// header begins an option file that has nothing else.
const header = "# Written by understudy-agent. Changes made by hand are overwritten.\n" + group +
	"\n"

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

// dropIn is the path of the agent's own option file. Call edit from reservationFile.change.
type dropIn string

// edit rewrites the file and says whether it changed. A file that has no options is removed.
func (d dropIn) edit(how func(old []byte) []byte) (changed bool, err error) {
	old, err := d.read()
	if err != nil {
		return false, err
	}
	switch content := how(old); string(content) {
	case "":
		return false, nil // there is none, and none is wanted
	case header:
		changed, err = true, os.Remove(string(d))
	default:
		changed, err = atomicfile.Ensure(string(d), content, 0o644, nil)
	}
	return changed, diskError("cannot write MariaDB's option file", err)
}

// read is the content of the file; nil when there is none.
func (d dropIn) read() ([]byte, error) {
	content, err := untrusted.ReadFile(string(d), mostOptions)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot read MariaDB's option file: %w", err)
	}
	return content, nil
}

// options are those of the file, in its order.
func (d dropIn) options() ([]Option, error) {
	content, err := d.read()
	if err != nil {
		return nil, err
	}
	var all []Option
	for line := range strings.Lines(string(content)) {
		if option, ok := parseOption(line); ok && !strings.ContainsAny(line[:1], "#[") {
			option.Value = unquoted(option.Value)
			all = append(all, option)
		}
	}
	return all, nil
}
