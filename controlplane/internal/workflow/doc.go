// Package workflow has the jobs as steps: taking a snapshot, making a primary or a replica, and
// taking them away again. It says which interfaces it needs; only the wiring imports their
// implementations.
//
// A step's handler looks, acts on the difference, looks again. It relies on nothing that an earlier
// step did unless it has seen it itself, so that each step can be retried alone, at any time, and
// is a no-op when what it stands for is true.
package workflow
