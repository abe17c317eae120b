//go:build !refusals

package errs

func seen(*Error) {}
