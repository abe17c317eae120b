package observe

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-db/understudy/controlplane/internal/fleet"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/proof"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/loop"
)

const (
	scrapeLimit = 5 * time.Second
	jobsAtOnce  = 500
)

// Config is what the metrics are read from.
type Config struct {
	// Store has the records.
	Store *store.Store
	// Jobs lists the jobs.
	Jobs fleet.Jobs
	// Shown is a server's record as it is shown. Default: as it is.
	Shown func(inventory.Server) inventory.Server
	// Latest is what the monitor found in its latest round, by server.
	Latest func() map[string]fleet.Observation
	// Proofs is what continuous verification knows of a replica; false when nothing. Default: it
	// knows of none.
	Proofs func(server string) (proof.Coverage, bool)
	// Loops are the control plane's own.
	Loops *loop.Set
	// Certificate is the control plane's own.
	Certificate func() (*tls.Certificate, error)
	// Root is when the root of the certificate authority expires. May be nil.
	Root func() time.Time
}

// Records reports what the records and the monitor's latest round say, when it is asked to. It asks
// no agent.
type Records struct {
	cfg Config
	all map[string]*prometheus.Desc
}

// The metrics of Records, without their prefix.
const (
	state         = "server_state"
	lastSeen      = "server_last_seen_timestamp_seconds"
	lastVerified  = "server_last_verified_timestamp_seconds"
	certificate   = "server_certificate_expiry_timestamp_seconds"
	ownExpiry     = "controlplane_certificate_expiry_timestamp_seconds"
	rootExpiry    = "ca_expiry_timestamp_seconds"
	answers       = "server_mariadb_up"
	free          = "server_datadir_free_bytes"
	used          = "server_datadir_used_bytes"
	binlogs       = "server_binlog_bytes"
	ioRunning     = "replica_io_running"
	sqlRunning    = "replica_sql_running"
	lag           = "replica_lag_seconds"
	behind        = "replica_transactions_behind"
	proved        = "replica_proved_ratio"
	oldestProof   = "replica_oldest_proof_timestamp_seconds"
	differences   = "replica_differences"
	unfinished    = "jobs_unfinished"
	storeSize     = "store_size_bytes"
	lateLoops     = "loops_late"
	metricsPrefix = "understudy_"
)

// NewRecords makes it.
func NewRecords(cfg Config) *Records {
	if cfg.Proofs == nil {
		cfg.Proofs = func(string) (proof.Coverage, bool) { return proof.Coverage{}, false }
	}
	if cfg.Shown == nil {
		cfg.Shown = func(s inventory.Server) inventory.Server { return s }
	}
	r := &Records{cfg: cfg, all: map[string]*prometheus.Desc{}}
	add := func(name, help string, labels ...string) {
		r.all[name] = prometheus.NewDesc(metricsPrefix+name, help, labels, nil)
	}
	add(state, "1 for the state that the server is in, 0 for the other states; "+
		"UNKNOWN is READY on record that nobody has seen since the control plane started.",
		"server", "state")
	add(lastSeen, "Time of the last answer of the server's agent.", "server")
	add(lastVerified, "Time of the last successful comparison of the replica with its primary.",
		"server")
	add(certificate, "End of the newest certificate of the server's agent.", "server")
	add(ownExpiry, "End of the control plane's own certificate.")
	add(rootExpiry, "End of the root of the certificate authority, the first of two while it is "+
		"being replaced.")
	add(answers, "1 when MariaDB answered in the latest observation, 0 when it did not; absent "+
		"while the agent does not answer.", "server")
	add(free, "Bytes free on the filesystem of the datadir.", "server")
	add(used, "Bytes used on the filesystem of the datadir.", "server")
	add(binlogs, "Size of all binary logs.", "server")
	add(ioRunning, "1 when the replica's IO thread runs.", "server")
	add(sqlRunning, "1 when the replica's SQL thread runs.", "server")
	add(lag, "How old the transaction is that the replica applies now, as MariaDB reports it; "+
		"absent while MariaDB does not know.", "server")
	add(behind, "Transactions of the primary that the replica has not applied, by GTID; an upper "+
		"bound where sequence numbers have gaps.", "server")
	add(proved, "Share of the replica's rows that continuous verification proved equal to the "+
		"primary's within the last 24 hours.", "server")
	add(oldestProof, "Oldest date of a table's proof; absent while a table has none.", "server")
	add(differences, "Tables and objects of the replica that differ from the primary's.", "server")
	add(unfinished, "Jobs that have not ended, by kind and state.", "kind", "state")
	add(storeSize, "Size of the control plane's records.")
	add(lateLoops, "Loops of the control plane that have had no good round for too long; its log "+
		"and /healthz name them.")
	return r
}

// Describe names the metrics.
func (r *Records) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range r.all {
		out <- desc
	}
}

// report is one scrape.
type report struct {
	*Records
	out chan<- prometheus.Metric
}

func (r report) gauge(name string, value float64, labels ...string) {
	r.out <- prometheus.MustNewConstMetric(r.all[name], prometheus.GaugeValue, value, labels...)
}

func (r report) flag(name string, on bool, labels ...string) {
	value := 0.0
	if on {
		value = 1
	}
	r.gauge(name, value, labels...)
}

// time leaves out what has not happened.
func (r report) time(name string, at time.Time, labels ...string) {
	if !at.IsZero() {
		r.gauge(name, float64(at.UnixMilli())/1000, labels...)
	}
}

// failed leaves out of this scrape what could not be read.
func (r report) failed(name string, err error) {
	r.out <- prometheus.NewInvalidMetric(r.all[name], err)
}

// Collect reads the records.
func (r *Records) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	to := report{r, out}
	to.records(ctx)
	to.jobs(ctx)
	to.gauge(lateLoops, float64(len(r.cfg.Loops.Late())))
	if own, err := r.cfg.Certificate(); err == nil && own != nil && own.Leaf != nil {
		to.time(ownExpiry, own.Leaf.NotAfter)
	}
	if r.cfg.Root != nil {
		to.time(rootExpiry, r.cfg.Root())
	}
}

func (r report) records(ctx context.Context) {
	var servers []inventory.Server
	var ends map[string]time.Time
	var size int64
	err := r.cfg.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if servers, err = tx.Servers().All(ctx); err != nil {
			return err
		}
		if ends, err = tx.Certificates().Ends(ctx); err != nil {
			return err
		}
		size, err = tx.SizeBytes(ctx)
		return err
	})
	if err != nil {
		r.failed(state, err)
		return
	}
	r.gauge(storeSize, float64(size))
	latest := r.cfg.Latest()
	for _, s := range servers {
		if s.State == inventory.ServerDeleted {
			continue
		}
		shown := r.cfg.Shown(s).State
		for _, one := range inventory.ServerStates() {
			r.flag(state, shown == one, s.Name, string(one))
		}
		r.time(lastSeen, s.LastSeen, s.Name)
		r.time(lastVerified, s.Verified.Time, s.Name)
		r.time(certificate, ends[s.AgentIdentity], s.Name)
		if c, known := r.cfg.Proofs(s.Name); known {
			r.gauge(proved, c.Share, s.Name)
			r.time(oldestProof, c.Oldest, s.Name)
			r.gauge(differences, float64(len(c.Different)), s.Name)
		}
		if o, ok := latest[s.Name]; ok {
			r.observation(s, o)
		}
	}
}

func (r report) observation(s inventory.Server, o fleet.Observation) {
	r.flag(answers, o.Status.Answers, s.Name)
	if o.Status.FilesystemFree+o.Status.FilesystemUsed > 0 {
		r.gauge(free, float64(o.Status.FilesystemFree), s.Name)
		r.gauge(used, float64(o.Status.FilesystemUsed), s.Name)
	}
	// A quiesced MariaDB is not asked for its binary logs.
	if o.Status.Answers && !o.Status.Held {
		r.gauge(binlogs, float64(o.Status.BinlogBytes), s.Name)
	}
	if s.Role != inventory.RoleReplica {
		return
	}
	conn, _ := replication.Find(o.Status.Connections, "") // none: no thread runs
	r.flag(ioRunning, conn.IORunning == "Yes", s.Name)
	r.flag(sqlRunning, conn.SQLRunning == "Yes", s.Name)
	if conn.SecondsKnown {
		r.gauge(lag, conn.SecondsBehind.Seconds(), s.Name)
	}
	if o.Compared {
		r.gauge(behind, float64(o.Behind), s.Name)
	}
}

func (r report) jobs(ctx context.Context) {
	counts := map[[2]string]int{}
	filter := job.Filter{States: job.UnendedStates(), PageSize: jobsAtOnce}
	for {
		list, next, err := r.cfg.Jobs.List(ctx, filter)
		if err != nil {
			r.failed(unfinished, err)
			return
		}
		for _, j := range list {
			counts[[2]string{j.Kind, string(j.State)}]++
		}
		if filter.PageToken = next; next == "" {
			break
		}
	}
	for labels, n := range counts {
		r.gauge(unfinished, float64(n), labels[0], labels[1])
	}
}
