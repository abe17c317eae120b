// Package wire has what the services share: how names, pages and request ids are checked, how
// records and jobs look on the wire, and how the errors of the packages below become those of
// package errs.
package wire
