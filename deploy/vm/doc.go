// Package vm runs the built programs on virtual machines: kernels of their own, disks that are
// plugged and pulled, clocks of their own, and a loss of power. `make test-vm` runs it.
package vm
