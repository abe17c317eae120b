package fakecp

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path"
	"regexp"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

var uuidPattern = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

func (s *Server) logUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo,
	handler grpc.UnaryHandler) (any, error) {
	s.log(info.FullMethod, req)
	return handler(ctx, req)
}

func (s *Server) logStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo,
	handler grpc.StreamHandler) error {
	return handler(srv, &loggedStream{ServerStream: stream,
		log: func(req any) { s.log(info.FullMethod, req) }})
}

type loggedStream struct {
	grpc.ServerStream
	log func(any)
}

// RecvMsg receives a request and logs it.
func (l *loggedStream) RecvMsg(req any) error {
	err := l.ServerStream.RecvMsg(req)
	if err == nil {
		l.log(req)
	}
	return err
}

// log writes a request as one line, its UUIDs, which are new each time, left out.
func (s *Server) log(method string, req any) {
	msg, ok := req.(proto.Message)
	if s.config.Log == "" || !ok {
		return
	}
	raw, err := protojson.Marshal(msg)
	if err != nil {
		return
	}
	var line bytes.Buffer
	line.WriteString(path.Base(method) + " ")
	if err := json.Compact(&line, raw); err != nil {
		return
	}
	line.WriteByte('\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := os.OpenFile(s.config.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = file.Write(uuidPattern.ReplaceAll(line.Bytes(), []byte("UUID")))
}
