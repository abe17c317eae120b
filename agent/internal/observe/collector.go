package observe

import (
	"crypto/tls"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// The gauges, without their prefix.
const (
	lastObserved = "last_observed_timestamp_seconds"
	answers      = "mariadb_up"
	ioRunning    = "replica_io_running"
	sqlRunning   = "replica_sql_running"
	lag          = "replica_lag_seconds"
	free         = "datadir_free_bytes"
	used         = "datadir_used_bytes"
	binlogs      = "binlog_bytes"
	quiesced     = "quiesced"
	expiry       = "certificate_expiry_timestamp_seconds"
)

// collector reports the latest observation when it is asked to. It asks MariaDB nothing.
type collector struct {
	*Watch
	certificate func() *tls.Certificate
	all         map[string]*prometheus.Desc
}

// Collector has the metrics of the agent; certificate is its own, or nil while there is none.
func (w *Watch) Collector(certificate func() *tls.Certificate) prometheus.Collector {
	c := &collector{Watch: w, certificate: certificate, all: map[string]*prometheus.Desc{}}
	for name, help := range map[string]string{
		lastObserved: "Time of the latest observation of MariaDB.",
		answers:      "1 when MariaDB answered in the latest observation.",
		ioRunning:    "1 when the IO thread runs; absent on a server that follows no primary.",
		sqlRunning:   "1 when the SQL thread runs; absent on a server that follows no primary.",
		lag: "How old the transaction is that the replica applies now, as MariaDB reports it; " +
			"absent while MariaDB does not know.",
		free:     "Bytes free on the filesystem of the datadir.",
		used:     "Bytes used on the filesystem of the datadir.",
		binlogs:  "Size of all binary logs.",
		quiesced: "1 while MariaDB is at a consistent point.",
		expiry:   "End of the agent's certificate.",
	} {
		c.all[name] = prometheus.NewDesc("understudy_agent_"+name, help, nil, nil)
	}
	return c
}

func (c *collector) parts() []prometheus.Collector {
	return []prometheus.Collector{c.looks, c.held, c.blocked, c.broken}
}

// Describe names the metrics.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range c.all {
		out <- desc
	}
	for _, part := range c.parts() {
		part.Describe(out)
	}
}

// Collect reports the latest observation.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(name string, value float64) {
		out <- prometheus.MustNewConstMetric(c.all[name], prometheus.GaugeValue, value)
	}
	if own := c.certificate(); own != nil && own.Leaf != nil {
		gauge(expiry, float64(own.Leaf.NotAfter.Unix()))
	}
	if status, at := c.Now(); !at.IsZero() {
		gauge(lastObserved, float64(at.UnixMilli())/1000)
		observation(gauge, status)
	}
	for _, part := range c.parts() {
		part.Collect(out)
	}
}

func observation(gauge func(string, float64), s mariadb.Status) {
	gauge(answers, number(s.Answers))
	gauge(quiesced, number(s.Quiesced))
	if s.Volume.FreeBytes+s.Volume.UsedBytes > 0 {
		gauge(free, float64(s.Volume.FreeBytes))
		gauge(used, float64(s.Volume.UsedBytes))
	}
	if !s.Answers {
		return
	}
	// A quiesced MariaDB is not asked for its binary logs.
	if !s.Quiesced {
		gauge(binlogs, float64(s.Live.BinlogBytes))
	}
	for _, r := range s.Live.Replication {
		if r.Connection != "" {
			continue // Understudy's is the default one
		}
		gauge(ioRunning, number(r.IORunning == "Yes"))
		gauge(sqlRunning, number(r.SQLRunning == "Yes"))
		if r.Behind != nil {
			gauge(lag, r.Behind.Seconds())
		}
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
