// Package dex logs in with accounts of Dex, a real identity provider: its tests run Dex, the
// control plane and the command line, and confirm codes as a browser does.
package dex
