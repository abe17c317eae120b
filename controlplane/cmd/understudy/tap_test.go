package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// tapped is a connection whose requests are written to a file, one line each. The first servers
// that it reads, as many as stale says, change as soon as they were read. A method that hangs is
// never answered.
type tapped struct {
	grpc.ClientConnInterface
	file  string
	stale *int
	hangs string
}

// Invoke makes a unary call.
func (t tapped) Invoke(ctx context.Context, method string, request, answer any,
	options ...grpc.CallOption) error {
	t.note(method, request)
	if t.hangs != "" && path.Base(method) == t.hangs {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	err := t.ClientConnInterface.Invoke(ctx, method, request, answer, options...)
	if read, is := answer.(*cpv1.GetServerResponse); is && *t.stale > 0 {
		*t.stale--
		read.Server.Etag = "r0"
	}
	return err
}

// NewStream begins a streaming call.
func (t tapped) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string,
	options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := t.ClientConnInterface.NewStream(ctx, desc, method, options...)
	return tappedStream{stream, t, method}, err
}

type tappedStream struct {
	grpc.ClientStream
	tap    tapped
	method string
}

// SendMsg sends a request.
func (s tappedStream) SendMsg(request any) error {
	s.tap.note(s.method, request)
	return s.ClientStream.SendMsg(request)
}

// note writes a request, or panics: the test is at fault then.
func (t tapped) note(method string, request any) {
	raw, err := protojson.Marshal(request.(proto.Message))
	if err != nil {
		panic(err)
	}
	line := bytes.NewBufferString(path.Base(method) + " ")
	if err := json.Compact(line, raw); err != nil {
		panic(err)
	}
	file, err := os.OpenFile(t.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if _, err := file.WriteString(replaced(line.String(), ids...) + "\n"); err != nil {
		panic(err)
	}
}
