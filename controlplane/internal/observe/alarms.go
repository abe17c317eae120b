package observe

import "github.com/prometheus/client_golang/prometheus"

// NewAlarms counts the events which say that somebody may use an identity that is not theirs, by
// their action. All actions have a series from the start, so that a first event is an increase.
func NewAlarms(actions ...string) *prometheus.CounterVec {
	alarms := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "understudy_identity_alarms_total",
		Help: "Keys, machines and join tokens that were known and refused, and join tokens that " +
			"were used from another address than the server's, by the action of the event.",
	}, []string{"action"})
	for _, action := range actions {
		alarms.WithLabelValues(action)
	}
	return alarms
}
