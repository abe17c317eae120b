package mariadb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/atomicfile"
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

// SetConfiguration writes the agent's one option file and reads back what MariaDB makes of it.
// Nothing is restarted.
func (s *Server) SetConfiguration(ctx context.Context, settings Settings) (Configured, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	others, err := s.otherOptions(ctx)
	if err != nil {
		return Configured{}, err
	}
	if err := sameBinlog(s.datadir(others), settings.LogBin); err != nil {
		return Configured{}, err
	}
	installed, certificateChanged, err := s.installTLS(settings.TLS)
	if err != nil {
		return Configured{}, err
	}
	tmpdir := sanitizedTmpdir(others)
	changed, err := s.writeDropIn(settings.render(installed, tmpdir))
	if err != nil {
		return Configured{}, err
	}
	done := Configured{Changed: changed || certificateChanged}
	ours := settings.options(installed, tmpdir)
	if err := s.readBack(ctx, ours, &done); err != nil {
		return Configured{}, err
	}
	done.Overridden = overridden(s.origins(ctx), ours)
	if s.answers(ctx) == nil {
		if done.RestartRequired, err = s.differs(ctx, ours); err != nil {
			return Configured{}, failure("cannot compare the running MariaDB with its options", err)
		}
		if certificateChanged && !done.RestartRequired {
			err = execute(ctx, s.db, flushTLS)
		}
	}
	return done, failure("cannot make MariaDB read its new certificate", err)
}

// writeDropIn writes the option file; reserved binary logs stay so.
func (s *Server) writeDropIn(content []byte) (changed bool, err error) {
	err = s.reserved.change(func(kept *reservations) error {
		changed, err = atomicfile.Ensure(s.config.DropIn,
			withReserved(content, len(kept.Reservations) > 0), 0o644, nil)
		return err
	})
	if err != nil {
		return false, diskError("cannot write MariaDB's option file", err)
	}
	return changed, nil
}

// RefreshCertificate hands MariaDB the certificate that the agent has now, where MariaDB is
// configured to use it: for when the agent got another one. A running MariaDB takes it over without
// a restart.
func (s *Server) RefreshCertificate(ctx context.Context) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	ours, err := os.ReadFile(s.config.DropIn)
	if errors.Is(err, os.ErrNotExist) || err == nil &&
		!bytes.Contains(ours, []byte("\nssl_cert=")) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read MariaDB's option file: %w", err)
	}
	_, changed, err := s.installTLS(true)
	if err != nil || !changed || s.answers(ctx) != nil {
		return err
	}
	s.log.Info("MariaDB got another certificate")
	return failure("cannot make MariaDB read its new certificate", execute(ctx, s.db, flushTLS))
}

// flushTLS makes a running MariaDB read its certificate again, on a replica too: it is not written
// to the binary log.
const flushTLS = "FLUSH NO_WRITE_TO_BINLOG SSL"

// sameBinlog refuses another base name than that of the binary logs that the datadir has: MariaDB
// would begin new ones, lose its position, and not know what became of the transactions that a copy
// holds half done.
func sameBinlog(datadir, wanted string) error {
	if wanted == "" || regularFile(filepath.Join(datadir, wanted+".index")) {
		return nil
	}
	base, err := binlogBase(datadir)
	if err != nil || base == "" {
		return err
	}
	return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
		fmt.Sprintf("cannot set log_bin to %s: the datadir has binary logs named %s", wanted, base),
		errs.WithHint("set log_bin to "+base), errs.Meta("log_bin", base))
}

// binlogBase is the base name of the binary logs in a datadir; empty when it has none.
func binlogBase(datadir string) (string, error) {
	indexes, err := filepath.Glob(filepath.Join(datadir, "*.index"))
	if err != nil || len(indexes) == 0 {
		return "", err
	}
	relay, err := currentRelayLogs(datadir)
	if err != nil {
		return "", fmt.Errorf("cannot distinguish relay logs from binary logs: %w", err)
	}
	for _, index := range indexes {
		logs, err := readIndex(index)
		if err != nil {
			return "", fmt.Errorf("cannot read the index of the binary logs: %w", err)
		}
		if strings.Contains(filepath.Base(index), "relay") || len(logs) == 0 ||
			slices.ContainsFunc(logs, func(l string) bool { return slices.Contains(relay, l) }) {
			continue
		}
		if newest := logs[len(logs)-1]; regularFile(filepath.Join(datadir, newest)) {
			return strings.TrimSuffix(newest, filepath.Ext(newest)), nil
		}
	}
	return "", nil
}

// installTLS puts the certificate where MariaDB reads it, with the ownership that MariaDB wants.
func (s *Server) installTLS(wanted bool) (TLSFiles, bool, error) {
	to := TLSFiles{CA: filepath.Join(s.config.TLSDir, "ca.pem"),
		Cert: filepath.Join(s.config.TLSDir, "cert.pem"),
		Key:  filepath.Join(s.config.TLSDir, "key.pem")}
	if !wanted {
		return to, false, nil
	}
	belongs, err := lookup(s.config.User)
	if err != nil {
		return to, false, err
	}
	// MariaDB's own user has to get through, whatever the agent's umask is.
	if err := errors.Join(os.MkdirAll(s.config.TLSDir, 0o755),
		os.Chmod(s.config.TLSDir, 0o755)); err != nil {
		return to, false, diskError("cannot install MariaDB's certificate", err)
	}
	changed := false
	for _, f := range []struct {
		from, to string
		mode     os.FileMode
	}{{s.config.TLS.CA, to.CA, 0o644}, {s.config.TLS.Cert, to.Cert, 0o644},
		{s.config.TLS.Key, to.Key, 0o600}} {
		content, err := os.ReadFile(f.from)
		if errors.Is(err, os.ErrNotExist) || f.from == "" {
			return to, false, unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
				"cannot turn TLS on: the agent has no certificate for MariaDB",
				errs.WithHint("enrol the agent, or let it renew its certificate, then call again"))
		}
		if err != nil {
			return to, false, diskError("cannot install MariaDB's certificate", err)
		}
		wrote, err := atomicfile.Ensure(f.to, content, f.mode, belongs)
		if err != nil {
			return to, false, diskError("cannot install MariaDB's certificate", err)
		}
		changed = changed || wrote
	}
	return to, changed, nil
}

// otherOptions are what MariaDB would read without our file.
func (s *Server) otherOptions(ctx context.Context) ([]Option, error) {
	all, err := s.readOptions(ctx, "")
	if err != nil {
		return nil, err
	}
	if !regularFile(s.config.DropIn) {
		return all, nil
	}
	ours, err := s.readOptions(ctx, s.config.DropIn)
	if err != nil {
		return nil, err
	}
	count := map[string]int{}
	for _, o := range ours {
		count[o.String()]++
	}
	var others []Option
	for _, o := range all {
		if count[o.String()] > 0 {
			count[o.String()]--
			continue
		}
		others = append(others, o)
	}
	return others, nil
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

// readBack proves that ours are the options that count.
func (s *Server) readBack(ctx context.Context, ours []Option, done *Configured) error {
	all, err := s.readOptions(ctx, "")
	if err != nil {
		return err
	}
	done.Effective = shown(all)
	counts, wanted := lastOf(all), effective(ours)
	for name, value := range wanted {
		if counts[name].value != value && !suspended(name, counts[name].value) {
			return unsafe(errorsv1.Reason_REASON_MARIADB_SETTING,
				fmt.Sprintf("cannot set option %s to %q: another option file is read after %s "+
					"and sets %s", name, value, s.config.DropIn, counts[name].written),
				errs.WithHint("remove the option from that file (my_print_defaults --mysqld lists "+
					"all), then call again"))
		}
	}
	return nil
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
	return sorted(found)
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
func (s *Server) differs(ctx context.Context, ours []Option) (bool, error) {
	running, err := variables(ctx, s.db, append(startOnly(), "log_bin_basename")...)
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
