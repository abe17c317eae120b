package telemetry

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceConfig says whose spans are exported.
type TraceConfig struct {
	// Service is the default of OTEL_SERVICE_NAME.
	Service string
	// Version is the program's.
	Version string
	// Environ is the environment with the OTEL_* variables.
	Environ []string
}

// flushLimit bounds how long the export of what is left may take.
const flushLimit = 5 * time.Second

// StartTraces exports spans over OTLP (gRPC) when the standard OTEL_* variables name a collector,
// and propagates traces through calls; without them it does nothing. stop exports what is left.
func StartTraces(ctx context.Context, config TraceConfig) (stop func(), err error) {
	if on, err := config.enabled(); err != nil || !on {
		return func() {}, err
	}
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot export traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", config.Service),
			attribute.String("service.version", config.Version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("cannot export traces: %w", err)
	}
	options := []sdktrace.TracerProviderOption{sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(about), sdktrace.WithIDGenerator(generator{})}
	if config.variable("OTEL_TRACES_SAMPLER") == "" {
		// A trace begins with a job: calls that belong to none, such as those of the monitor, make
		// no trace.
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(namedRoots{})))
	}
	provider := sdktrace.NewTracerProvider(options...)
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
		defer cancel()
		_ = provider.Shutdown(ctx) // a collector that is gone gets nothing
	}, nil
}

func (c TraceConfig) variable(name string) string {
	i := slices.IndexFunc(c.Environ, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	if i < 0 {
		return ""
	}
	return c.Environ[i][len(name)+1:]
}

// enabled reports whether the variables name a collector that can be reached over gRPC.
func (c TraceConfig) enabled() (bool, error) {
	if c.variable("OTEL_EXPORTER_OTLP_ENDPOINT")+
		c.variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" ||
		strings.EqualFold(c.variable("OTEL_SDK_DISABLED"), "true") ||
		c.variable("OTEL_TRACES_EXPORTER") == "none" {
		return false, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
		"OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := c.variable(name); protocol != "" && protocol != "grpc" {
			return false, fmt.Errorf("cannot export traces: %s is %q, must be grpc", name, protocol)
		}
	}
	return true, nil
}

// Identity is a span that can be named before it is made, and by another process.
type Identity struct {
	// Trace is the trace that it belongs to.
	Trace trace.TraceID
	// Span is its own id.
	Span trace.SpanID
}

type identityKey struct{}

// Named makes the context in which the next span that begins is that one.
func Named(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// Within makes the context in which spans are children of that one, wherever it is made.
func Within(ctx context.Context, id Identity) context.Context {
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id.Trace, SpanID: id.Span, TraceFlags: trace.FlagsSampled}))
}

// generator gives a span the identity of its context, or a random one.
type generator struct{}

// NewIDs implements sdktrace.IDGenerator.
func (generator) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	if named, ok := ctx.Value(identityKey{}).(Identity); ok {
		return named.Trace, named.Span
	}
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64()|1)
	return id, randomSpan()
}

// NewSpanID implements sdktrace.IDGenerator.
func (generator) NewSpanID(ctx context.Context, in trace.TraceID) trace.SpanID {
	if named, ok := ctx.Value(identityKey{}).(Identity); ok && named.Trace == in {
		return named.Span
	}
	return randomSpan()
}

func randomSpan() (id trace.SpanID) {
	binary.NativeEndian.PutUint64(id[:], rand.Uint64()|1)
	return id
}

// namedRoots samples the roots that Named made, and no others.
type namedRoots struct{}

// ShouldSample implements sdktrace.Sampler.
func (namedRoots) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	decision := sdktrace.Drop
	if _, named := p.ParentContext.Value(identityKey{}).(Identity); named {
		decision = sdktrace.RecordAndSample
	}
	return sdktrace.SamplingResult{Decision: decision}
}

// Description implements sdktrace.Sampler.
func (namedRoots) Description() string { return "NamedRoots" }
