// Package login says who logs in with an ID token of an identity provider, and what the groups of
// that person may do. It verifies each token by itself; docs/login.md has what it refuses.
package login
