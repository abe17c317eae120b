//go:build !race

package job_test

// raced says whether the race detector watches.
const raced = false
