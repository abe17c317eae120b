package mariadb

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// initFile is what a replica's MariaDB runs at each start, before it takes connections and before
// replication starts. A MEMORY table is empty after a start, and the first that opens it makes
// MariaDB log a TRUNCATE under the replica's own server_id, read_only or not: the next event of the
// primary then breaks replication. Here the tables are opened first, without the binary log. An
// error in it would keep MariaDB from starting; it has none.
const initFile = `-- Written by understudy-agent. It opens MEMORY tables without the binary log.
SET sql_log_bin = 0;
BEGIN NOT ATOMIC ` +
	"DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; FOR t IN (SELECT CONCAT('`', " +
	"REPLACE(table_schema, '`', '``'), '`.`', REPLACE(table_name, '`', '``'), '`') AS name " +
	"FROM information_schema.tables WHERE engine = 'MEMORY' AND table_schema NOT IN " +
	"('information_schema', 'performance_schema')) " +
	"DO EXECUTE IMMEDIATE CONCAT('DO (SELECT 1 FROM ', t.name, ' LIMIT 0)'); END FOR; END;\n"

// initPath is where it is, beside the certificate.
func initPath(tls TLSFiles) string { return filepath.Join(filepath.Dir(tls.CA), "init.sql") }

// writeInitFile writes what the settings of a replica name.
func writeInitFile(path string) error {
	dir := filepath.Dir(path)
	err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755))
	if err == nil {
		_, err = atomicfile.Ensure(path, []byte(initFile), 0o644, nil)
	}
	return diskError("cannot write what MariaDB runs at its start", err)
}
