// Package manual is the provider for machines and volumes that operators make and attach by hand.
// It makes nothing: what is asked of it becomes a task for an operator, and a state that settles
// when the operator says so or when the machine's agent shows it. docs/manual.md has its terms,
// states and invariants.
package manual
