// Package kit is what every kind of job is made of: a kind and its steps as values, one call of a
// step, the records and interfaces that steps work with, and errors as the engine understands them.
//
// A step observes, acts on the difference, observes again. It relies on nothing that an earlier
// step did unless it has seen it itself, so that each step can be retried alone, at any time, and
// is a no-op when what it stands for is true.
package kit
