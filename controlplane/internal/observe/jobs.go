// Package observe is what the control plane reports of its servers and jobs: metrics, and a trace
// a job.
package observe

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/telemetry"
)

// Jobs follows the jobs of this process. It implements job.Observer.
type Jobs struct {
	jobs, steps *prometheus.HistogramVec
	failures    *prometheus.CounterVec
	tracer      trace.Tracer
}

// NewJobs makes it, and registers its metrics.
func NewJobs(registry prometheus.Registerer) (*Jobs, error) {
	o := &Jobs{
		jobs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "understudy_job_duration_seconds",
			Help:    "Time from a job's start to its end, by kind and the state that it ended in.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600},
		}, []string{"kind", "state"}),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "understudy_step_duration_seconds",
			Help: "Time spent on a step with its waits and retries, by kind of job, step and the " +
				"state that it ended in.",
			Buckets: []float64{.1, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600},
		}, []string{"kind", "step", "state"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_step_failures_total",
			Help: "Failed attempts of steps, by kind of job, step and reason of the error.",
		}, []string{"kind", "step", "reason"}),
		tracer: otel.Tracer("github.com/understudy-db/understudy/jobs"),
	}
	for _, c := range []prometheus.Collector{o.jobs, o.steps, o.failures} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register metrics: %w", err)
		}
	}
	return o, nil
}

// Expect makes the series of these kinds of jobs, so that a first failure is seen as an increase.
func (o *Jobs) Expect(kinds ...string) {
	for _, kind := range kinds {
		for _, state := range []job.State{job.Succeeded, job.Failed, job.Cancelled} {
			o.jobs.WithLabelValues(kind, string(state))
		}
	}
}

// Enter implements job.Observer: what the context is used for belongs to the job's trace.
func (o *Jobs) Enter(ctx context.Context, jobID string, step *job.Step) context.Context {
	if step == nil {
		return telemetry.Within(ctx, jobSpan(jobID))
	}
	return telemetry.Within(ctx, attemptSpan(jobID, step))
}

// Tried implements job.Observer.
func (o *Jobs) Tried(j *job.Job, step *job.Step, began time.Time) {
	after, now := &j.Steps[step.Seq], time.Now()
	// A section that starts over leaves no trace in its step's row.
	over := after.Generation == step.Generation && after.State != job.StepWaiting &&
		after.State != job.StepRunning
	if after.Failure != nil && after.State != job.StepActionRequired {
		o.failures.WithLabelValues(j.Kind, step.Kind, reason(after.Failure)).Inc()
	}
	root, parent := jobSpan(j.ID), stepSpan(j.ID, step)
	o.record(parent, attemptSpan(j.ID, step), fmt.Sprintf("%s attempt %d", step.Kind,
		step.Attempts), began, now, after.Failure, attribute.Int("attempt", step.Attempts))
	if over {
		o.steps.WithLabelValues(j.Kind, step.Kind, string(after.State)).Observe(
			after.Spent.Seconds())
		o.record(root, parent, step.Kind, or(after.Started, began), now, after.Failure,
			attribute.String("state", string(after.State)),
			attribute.Int("generation", step.Generation))
	}
	if j.State.Ended() && j.Mode != job.Cleanup {
		o.jobs.WithLabelValues(j.Kind, string(j.State)).Observe(j.Finished.Sub(j.Started).Seconds())
		o.record(telemetry.Identity{}, root, j.Kind, j.Created, now, failure(j),
			attribute.String("job", j.ID), attribute.String("title", j.Title),
			attribute.String("state", string(j.State)))
	}
}

// record makes a span of what is over. One without a parent is the root of its trace.
func (o *Jobs) record(parent, id telemetry.Identity, name string, from, to time.Time,
	failed *job.Failure, attributes ...attribute.KeyValue) {
	ctx := telemetry.Named(context.Background(), id)
	if parent.Span.IsValid() {
		ctx = telemetry.Within(ctx, parent)
	}
	_, span := o.tracer.Start(ctx, name, trace.WithTimestamp(from),
		trace.WithAttributes(attributes...))
	if failed != nil {
		span.SetStatus(codes.Error, failed.Message)
	}
	span.End(trace.WithTimestamp(to))
}

func failure(j *job.Job) *job.Failure {
	if j.State != job.Failed {
		return nil
	}
	return &job.Failure{Message: j.Reason}
}

func reason(f *job.Failure) string {
	if f.Reason == "" {
		return "UNSPECIFIED"
	}
	return f.Reason
}

func or(t, fallback time.Time) time.Time {
	if t.IsZero() {
		return fallback
	}
	return t
}

// The ids of spans follow from the rows, so that a process that takes a job over goes on with its
// trace.
func jobSpan(jobID string) telemetry.Identity { return identity(jobID, "") }

func stepSpan(jobID string, s *job.Step) telemetry.Identity {
	return identity(jobID, fmt.Sprintf("%s/%d", s.Kind, s.Generation))
}

func attemptSpan(jobID string, s *job.Step) telemetry.Identity {
	return identity(jobID, fmt.Sprintf("%s/%d/%d", s.Kind, s.Generation, s.Attempts))
}

func identity(jobID, part string) (id telemetry.Identity) {
	trace := sha256.Sum256([]byte(jobID))
	span := sha256.Sum256([]byte(jobID + "/" + part))
	copy(id.Trace[:], trace[:])
	copy(id.Span[:], span[:])
	return id
}
