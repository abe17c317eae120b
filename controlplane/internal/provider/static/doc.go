// Package static is the provider for machines and volumes that people make and attach by hand. It
// makes nothing: what is asked of it becomes a task for a person, and a state that settles when the
// person says so or when the machine's agent shows it. docs/static.md has its terms, states and
// invariants.
package static
