package mariadb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Configured says what SetConfiguration did, and what MariaDB would read.
type Configured struct {
	// Changed is false when the file had that content already.
	Changed bool
	// RestartRequired is true when the running server differs in an option that it reads at its
	// start alone.
	RestartRequired bool
	// Overridden are options of other files that ours take the place of: "server_id=1
	// (/etc/mysql/my.cnf)".
	Overridden []string
	// Effective are the options that MariaDB would read; secrets left out.
	Effective []string
}

// Configuration writes the agent's option file, and hands MariaDB its certificate.
type Configuration struct {
	server       *Server
	options      *options
	units        UnitFiles
	reservations *Reservations
	certificate  certificate
	log          *slog.Logger
}

// Set writes the agent's one option file and reads back what MariaDB makes of it.
// Nothing is restarted.
func (c *Configuration) Set(ctx context.Context, settings Settings) (Configured, error) {
	c.server.changes.Lock()
	defer c.server.changes.Unlock()
	others, err := c.options.others(ctx)
	if err != nil {
		return Configured{}, err
	}
	if err := sameBinlog(c.options.datadir(others), settings.LogBin); err != nil {
		return Configured{}, err
	}
	certificateChanged := false
	if settings.TLS {
		if certificateChanged, err = c.certificate.install(); err != nil {
			return Configured{}, err
		}
	}
	tmpdir := sanitizedTmpdir(others)
	ours := settings.options(c.certificate.to, tmpdir)
	if err := readByUnit(ctx, c.units); err != nil {
		return Configured{}, err
	}
	if settings.ReadOnly {
		if err := writeInitFile(initPath(c.certificate.to)); err != nil {
			return Configured{}, err
		}
	}
	changed, err := c.writeDropIn(settings.render(c.certificate.to, tmpdir))
	if err != nil {
		return Configured{}, err
	}
	done := Configured{Changed: changed || certificateChanged}
	if err := c.options.readBack(ctx, ours, &done); err != nil {
		return Configured{}, err
	}
	done.Overridden = overridden(c.options.origins(ctx), ours)
	if c.server.answers(ctx) == nil {
		if done.RestartRequired, err = differs(ctx, c.server.db, ours); err != nil {
			return Configured{}, failure("cannot compare the running MariaDB with its options", err)
		}
		if certificateChanged && !done.RestartRequired {
			err = execute(ctx, c.server.db, flushTLS)
		}
	}
	return done, failure("cannot make MariaDB read its new certificate", err)
}

// writeDropIn writes the option file; reserved binary logs stay so.
func (c *Configuration) writeDropIn(content []byte) (changed bool, err error) {
	err = c.reservations.file.change(func(kept *reservations) (err error) {
		changed, err = c.options.dropIn.edit(func([]byte) []byte {
			return withReserved(content, len(kept.Reservations) > 0)
		})
		return err
	})
	return changed, err
}

// RefreshCertificate hands MariaDB the certificate that the agent has now, where MariaDB is
// configured to use it: for when the agent got another one. A running MariaDB takes it over without
// a restart, also when an agent that was killed put it in place already.
func (c *Configuration) RefreshCertificate(ctx context.Context, running bool) error {
	c.server.changes.Lock()
	defer c.server.changes.Unlock()
	ours, err := c.options.dropIn.read()
	if err != nil || !bytes.Contains(ours, []byte("\nssl_cert=")) {
		return err
	}
	changed, err := c.certificate.install()
	if changed {
		c.log.Info("MariaDB got another certificate")
	}
	if err != nil || !running {
		return err
	}
	return failure("cannot make MariaDB read its new certificate",
		execute(ctx, c.server.db, flushTLS))
}

// flushTLS makes a running MariaDB read its certificate again, on a replica too: it is not written
// to the binary log.
const flushTLS = "FLUSH NO_WRITE_TO_BINLOG SSL"

// sameBinlog refuses another base name than that of the binary logs that the datadir has: MariaDB
// would begin new ones, lose its position, and not know what became of the transactions that a copy
// holds half done.
func sameBinlog(datadir, wanted string) error {
	if wanted == "" {
		return nil
	}
	dir, err := untrusted.Open(datadir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if regularIn(dir, wanted+".index") {
		return nil
	}
	base, err := binlogBase(dir)
	if err != nil || base == "" {
		return err
	}
	return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
		fmt.Sprintf("cannot set log_bin to %s: the datadir has binary logs named %s", wanted, base),
		errs.WithHint("set log_bin to "+base), errs.Meta("log_bin", base))
}

// binlogBase is the base name of the binary logs in a datadir; empty when it has none.
func binlogBase(datadir *untrusted.Dir) (string, error) {
	indexes, err := matching(datadir, indexPattern)
	if err != nil || len(indexes) == 0 {
		return "", err
	}
	relay, err := currentRelayLogs(datadir)
	if err != nil {
		return "", fmt.Errorf("cannot distinguish relay logs from binary logs: %w", err)
	}
	for _, index := range indexes {
		logs, err := readIndex(datadir, index)
		if err != nil {
			return "", fmt.Errorf("cannot read the index of the binary logs: %w", err)
		}
		if strings.Contains(index, "relay") || len(logs) == 0 ||
			slices.ContainsFunc(logs, func(l string) bool { return slices.Contains(relay, l) }) {
			continue
		}
		if newest := logs[len(logs)-1]; regularIn(datadir, newest) {
			return strings.TrimSuffix(newest, filepath.Ext(newest)), nil
		}
	}
	return "", nil
}

// sanitizedTmpdir is a tmpdir that exists, when the one that the other files name does not.
func sanitizedTmpdir(others []Option) string {
	configured, set := effective(others)["tmpdir"]
	if !set {
		return ""
	}
	for dir := range strings.SplitSeq(configured, ":") {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return "/tmp"
		}
	}
	return ""
}

// suspended is true for the expiry of binary logs while they are reserved.
func suspended(name, value string) bool {
	return value == "0" && (name == "binlog_expire_logs_seconds" || name == "max_binlog_total_size")
}

func overridden(files map[string][]Option, ours []Option) []string {
	wanted := effective(ours)
	var found []string
	for file, options := range files {
		for name, o := range lastOf(options) {
			if own, is := wanted[name]; is && own != o.value {
				found = append(found, fmt.Sprintf("%s (%s)", o.written, file))
			}
		}
	}
	slices.Sort(found)
	return found
}

// startOnly are options that a running server does not take over.
func startOnly() []string {
	return []string{"server_id", "gtid_domain_id", "bind_address", "port", "log_bin",
		"log_slave_updates", "relay_log", "relay_log_recovery",
		"report_host", "report_port", "ssl_ca", "ssl_cert", "ssl_key", "tmpdir",
		"performance_schema", "open_files_limit", "back_log",
		"innodb_flush_method", "innodb_log_buffer_size", "innodb_read_io_threads",
		"innodb_write_io_threads", "thread_handling",
		"table_open_cache_instances", "skip_name_resolve"}
}

// differs compares the running server with our options, those that need a restart alone.
func differs(ctx context.Context, q querier, ours []Option) (bool, error) {
	running, err := variables(ctx, q, append(startOnly(), "log_bin_basename")...)
	if err != nil {
		return false, err
	}
	wanted := effective(ours)
	for _, name := range startOnly() {
		value, set := wanted[name]
		is, has := running[name]
		if !set || !has {
			continue
		}
		if name == "log_bin" {
			if binlogDiffers(value, is, running["log_bin_basename"]) {
				return true, nil
			}
		} else if !sameValue(value, is) {
			return true, nil
		}
	}
	return false, nil
}

func binlogDiffers(wanted, on, basename string) bool {
	if wanted == "OFF" {
		return on != "OFF"
	}
	return on != "ON" || filepath.Base(basename) != wanted
}

// sameValue knows that MariaDB writes flags in several ways.
func sameValue(a, b string) bool {
	flags := map[string]string{"1": "ON", "TRUE": "ON", "0": "OFF", "FALSE": "OFF"}
	spell := func(v string) string {
		v = strings.ToUpper(v)
		if word, ok := flags[v]; ok {
			return word
		}
		return v
	}
	return spell(a) == spell(b)
}
