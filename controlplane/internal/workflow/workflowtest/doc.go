// Package workflowtest is a simulated world for tests of jobs: a provider, hosts with an agent and
// MariaDB on each, and processes of the control plane that run jobs on them. A process can be
// killed, and the answers of its calls be lost.
//
// What tests look at and change in a world is exported and guarded by World.Mu. Nothing may wait
// while it holds Mu: the clock of a bubble stands still meanwhile.
package workflowtest
