// Package app is the control plane as a whole: its configuration, the wiring of its parts, and its
// life from the first start, which needs no configuration, to a stop in good order.
package app
