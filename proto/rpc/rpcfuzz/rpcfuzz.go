// Package rpcfuzz makes requests of any kind out of a fuzzer's bytes and hands them to a service:
// for fuzz tests.
package rpcfuzz

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/proto/rpc/limits"
)

// source gives bytes until there are none; then zeros.
type source struct{ left []byte }

func (s *source) next() byte {
	if len(s.left) == 0 {
		return 0
	}
	b := s.left[0]
	s.left = s.left[1:]
	return b
}

func (s *source) number() int64 {
	var n int64
	for range s.next() % 9 {
		n = n<<8 | int64(s.next())
	}
	if s.next()%8 == 1 {
		n = -n
	}
	return n
}

func (s *source) text() []byte {
	n := min(int(s.next()), len(s.left))
	text := s.left[:n]
	s.left = s.left[n:]
	return text
}

// Fill sets fields of the message from data, each with a value of its kind.
func Fill(msg proto.Message, data []byte) {
	s := &source{left: data}
	s.fill(msg.ProtoReflect(), 0)
}

func (s *source) fill(msg protoreflect.Message, depth int) {
	fields := msg.Descriptor().Fields()
	for n := s.next() % 12; n > 0 && fields.Len() > 0 && depth < 4; n-- {
		field := fields.Get(int(s.next()) % fields.Len())
		switch {
		case field.IsMap():
			if field.MapValue().Kind() != protoreflect.MessageKind {
				msg.Mutable(field).Map().Set(s.value(msg, field.MapKey(), depth).MapKey(),
					s.value(msg, field.MapValue(), depth))
			}
		case field.IsList():
			s.list(msg.Mutable(field).List(), field, depth)
		case field.Kind() == protoreflect.MessageKind:
			s.fill(msg.Mutable(field).Message(), depth+1)
		default:
			msg.Set(field, s.value(msg, field, depth))
		}
	}
}

func (s *source) list(list protoreflect.List, field protoreflect.FieldDescriptor, depth int) {
	for range s.next() % 4 {
		if field.Kind() == protoreflect.MessageKind {
			s.fill(list.AppendMutable().Message(), depth+1)
			continue
		}
		list.Append(s.value(nil, field, depth))
	}
}

func (s *source) value(_ protoreflect.Message, field protoreflect.FieldDescriptor,
	_ int) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(s.next()&1 == 1)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int8(s.next())))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(s.number()))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(s.number()))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(s.number())
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(s.number()))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(s.number()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(s.number()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(s.text())
	default:
		return protoreflect.ValueOfString(string(s.text()))
	}
}

// Call hands a request made of data to one of the service's methods, chosen by its number, as the
// chassis does: what the limits refuse never gets there. A stream is given one request and then its
// end.
func Call(ctx context.Context, desc *grpc.ServiceDesc, service any,
	method uint8, data []byte) error {
	if len(desc.Methods)+len(desc.Streams) == 0 {
		return nil
	}
	at := int(method) % (len(desc.Methods) + len(desc.Streams))
	receive := func(request any) error {
		Fill(request.(proto.Message), data)
		return limits.Check(request.(proto.Message))
	}
	if at < len(desc.Methods) {
		_, err := desc.Methods[at].Handler(service, ctx, receive, nil)
		return err
	}
	return desc.Streams[at-len(desc.Methods)].Handler(service,
		&oneRequest{ctx: ctx, receive: receive})
}

// oneRequest is a stream on which one request comes.
type oneRequest struct {
	ctx     context.Context
	receive func(any) error
	done    bool
}

// Context is the call's.
func (s *oneRequest) Context() context.Context { return s.ctx }

// SetHeader is of no interest.
func (s *oneRequest) SetHeader(metadata.MD) error { return nil }

// SendHeader is of no interest.
func (s *oneRequest) SendHeader(metadata.MD) error { return nil }

// SetTrailer is of no interest.
func (s *oneRequest) SetTrailer(metadata.MD) {}

// SendMsg takes an answer.
func (s *oneRequest) SendMsg(any) error { return nil }

// RecvMsg gives the one request, then the end.
func (s *oneRequest) RecvMsg(request any) error {
	if s.done {
		return io.EOF
	}
	s.done = true
	return s.receive(request)
}
