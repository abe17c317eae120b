package agentpool

import (
	"fmt"
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
	longestText    = 16 << 10 // bytes of a text; a position with 500 domains is shorter
	mostElements   = 200_000  // of a list
	deepestMessage = 20
	mostOfCall     = 64 << 20 // bytes of all messages of a call that ends
	mostFacts      = 1 << 20  // bytes of a message of one that does not
	// One that does not end has a message a second, and some more when much happens.
	messageBurst    = 100
	messagesASecond = 20
)

// clip cuts what is too long in a message, in place.
func clip(m protoreflect.Message, depth int) {
	if depth > deepestMessage {
		return
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			value.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
				if s, long := cutText(field.MapValue(), v); long {
					value.Map().Set(key, s)
				} else if field.MapValue().Message() != nil {
					clip(v.Message(), depth+1)
				}
				return true
			})
		case field.IsList():
			list := value.List()
			if list.Len() > mostElements {
				list.Truncate(mostElements)
			}
			for i := range list.Len() {
				if s, long := cutText(field, list.Get(i)); long {
					list.Set(i, s)
				} else if field.Message() != nil {
					clip(list.Get(i).Message(), depth+1)
				}
			}
		case field.Message() != nil:
			clip(value.Message(), depth+1)
		default:
			if s, long := cutText(field, value); long {
				m.Set(field, s)
			}
		}
		return true
	})
}

// cutText is a text that is too long, cut between two characters.
func cutText(field protoreflect.FieldDescriptor, v protoreflect.Value) (protoreflect.Value, bool) {
	if field.Kind() != protoreflect.StringKind || len(v.String()) <= longestText {
		return v, false
	}
	text := strings.ToValidUTF8(v.String()[:longestText], "")
	return protoreflect.ValueOfString(text + "…"), true
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
		return errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_RATE_LIMITED,
			fmt.Sprintf("cannot take all that the agent sends: %d bytes in %d messages", b.bytes,
				b.messages), errs.WithHint("see which "+
				"program answers on its host as the agent, and install it again"))
	}
	clip(m.ProtoReflect(), 0)
	return nil
}
