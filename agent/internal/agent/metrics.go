package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/understudy-db/understudy/agent/internal/observe"
	"github.com/understudy-db/understudy/proto/telemetry"
)

// lookLimit is how old the latest observation of MariaDB may be.
const lookLimit = 3 * observe.FullInterval

// serveMetrics answers whoever watches the agent, before it has enrolled too. An agent without
// metrics does its work all the same.
func (d *runner) serveMetrics(ctx context.Context) {
	if d.config.Metrics == "off" {
		return
	}
	registry := telemetry.NewRegistry("understudy_agent", d.options.Version)
	registry.MustRegister(d.parts.watch.Collector(d.certificate))
	endpoint := telemetry.Endpoint{Metrics: registry, Log: d.options.Log,
		Alive: []telemetry.Check{{Name: "process",
			Run: func(context.Context) error { return nil }}},
		Ready: []telemetry.Check{{Name: "enrolled", Run: d.enrolled},
			{Name: "mariadb", Run: d.observed}}}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", d.config.Metrics)
	if err == nil {
		err = endpoint.Serve(ctx, listener)
	}
	if err != nil {
		d.options.Log.Warn("metrics are not served", "error", err)
	}
}

// certificate is the agent's own; nil before it has enrolled.
func (d *runner) certificate() *tls.Certificate {
	source := d.source.Load()
	if source == nil {
		return nil
	}
	credentials, err := source.Credentials()
	if err != nil {
		return nil
	}
	return credentials.Certificate
}

func (d *runner) enrolled(context.Context) error {
	own := d.certificate()
	switch {
	case own == nil:
		return errors.New("the agent has no certificate yet")
	case own.Leaf != nil && time.Now().After(own.Leaf.NotAfter):
		return errors.New("the agent's certificate has expired")
	}
	return nil
}

// observed passes once MariaDB was observed of late, whatever was found.
func (d *runner) observed(context.Context) error {
	return d.parts.watch.Fresh(lookLimit)
}
