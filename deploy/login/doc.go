// Package login logs in with accounts of a real identity provider: its tests, with the tag lab, run
// the one of zitadel/oidc, a certified library, as a program of a module of its own.
package login
