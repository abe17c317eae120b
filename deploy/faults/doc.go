// Package faults is the fault matrix: each row plants a state or kills a process on real hosts,
// runs a job or one of its steps, and expects that it converges, or refuses with the cause and the
// hint. After each row a checker that does not ask the product looks at the hosts, at the
// provider's files and at the store, and holds them to the invariants. docs/faults.md is its page.
package faults
