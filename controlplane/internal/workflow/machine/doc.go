// Package machine changes the machine of a server that stays what it is, and proves by the host
// that it was done: an answer of the provider is none.
package machine
