// Package show turns what the control plane answers into text for users: sizes, times, tables, and
// jobs with their steps. Nothing in it talks to anybody or looks at a clock: each text is a
// function of what goes in.
package show
