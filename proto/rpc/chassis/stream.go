package chassis

import (
	"context"

	"google.golang.org/grpc"
)

// contextStream is a stream with a context of our own.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context is the call's context.
func (s *contextStream) Context() context.Context { return s.ctx }

// checkedStream checks each message before the handler sees it.
type checkedStream struct {
	grpc.ServerStream
	check func(msg any) error
}

// RecvMsg answers with a checked message, or with what is wrong with it.
func (s *checkedStream) RecvMsg(msg any) error {
	if err := s.ServerStream.RecvMsg(msg); err != nil {
		return err
	}
	return s.check(msg)
}
