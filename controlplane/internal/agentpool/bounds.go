package agentpool

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// What an agent says is said by another machine, whose root may be anybody: each text is cut, and a
// call that goes on and on is ended.
const (
	longestWords   = 16 << 10  // bytes of what is for people to read; more is cut off
	longestFact    = 512 << 10 // bytes of any other text: a GTID state of 20,000 servers
	mostElements   = 200_000   // of a list
	deepestMessage = 20
	mostOfCall     = 64 << 20 // bytes of all messages of a call that ends
	mostFacts      = 1 << 20  // bytes of a message of one that does not
	// One that does not end has a message a second, and some more when much happens.
	messageBurst    = 100
	messagesASecond = 20
)

// forPeople are fields with words: a part of them is true too. A part of a fact is another fact.
var forPeople = regexp.MustCompile(
	`^(.*_)?(reason|text|error|errors|progress|problem|found|changes|content|description|message)$`)

// bound cuts words that are too long, in place, and refuses any other part that is.
func bound(m protoreflect.Message, depth int) (err error) {
	if depth > deepestMessage {
		return tooMuch("messages in each other", depth)
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			value.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
				err = boundOne(field.MapValue(), field.Name(), v, depth,
					func(v protoreflect.Value) { value.Map().Set(key, v) })
				return err == nil
			})
		case field.IsList():
			list := value.List()
			if list.Len() > mostElements {
				err = tooMuch(string(field.Name()), list.Len())
			}
			for i := 0; err == nil && i < list.Len(); i++ {
				err = boundOne(field, field.Name(), list.Get(i), depth,
					func(v protoreflect.Value) { list.Set(i, v) })
			}
		default:
			err = boundOne(field, field.Name(), value, depth,
				func(v protoreflect.Value) { m.Set(field, v) })
		}
		return err == nil
	})
	return err
}

func boundOne(kind protoreflect.FieldDescriptor, name protoreflect.Name, v protoreflect.Value,
	depth int, set func(protoreflect.Value)) error {
	switch {
	case kind.Message() != nil:
		return bound(v.Message(), depth+1)
	case kind.Kind() != protoreflect.StringKind:
		return nil
	case len(v.String()) > longestWords && forPeople.MatchString(string(name)):
		set(protoreflect.ValueOfString(strings.ToValidUTF8(v.String()[:longestWords], "") + "…"))
	case len(v.String()) > longestFact:
		return tooMuch(string(name), len(v.String()))
	}
	return nil
}

func tooMuch(what string, size int) error {
	return errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_RATE_LIMITED,
		fmt.Sprintf("cannot take all that the agent sends: %d of %s", size, what),
		errs.WithHint("see which program answers on its host as the agent, and install it again"))
}

// bounded is a stream of an agent's that ends when too much comes.
type bounded struct {
	grpc.ClientStream
	method   string
	began    time.Time
	bytes    int
	messages int
}

// RecvMsg is a message that is within its bounds.
func (b *bounded) RecvMsg(into any) error {
	if err := b.ClientStream.RecvMsg(into); err != nil {
		return err
	}
	m := into.(proto.Message)
	b.messages++
	size := proto.Size(m)
	b.bytes += size
	allowed := messageBurst + int(time.Since(b.began).Seconds()*messagesASecond)
	endless := b.method == agentv1.ObservationService_Observe_FullMethodName
	if !endless && b.bytes > mostOfCall || endless && (size > mostFacts || b.messages > allowed) {
		return tooMuch("bytes", b.bytes)
	}
	return bound(m.ProtoReflect(), 0)
}
