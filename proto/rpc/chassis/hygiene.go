package chassis

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

const (
	defaultMaxString = 4 << 10
	defaultMaxItems  = 1000
	// maxViolations is where looking for more stops: nobody reads on.
	maxViolations = 20
)

// Limits bounds what any request may hold, whatever its service says: strings are UTF-8 without
// control characters and of bounded length, lists are of bounded length, enums have known values,
// times and durations are valid.
type Limits struct {
	// MaxStringBytes bounds a string; 4 KiB when 0.
	MaxStringBytes int
	// MaxItems bounds a list or map; 1,000 when 0.
	MaxItems int
	// Texts are the fields that hold text of several lines, by full name
	// (`understudy.agent.v1.SetDropInRequest.content`), with their length in bytes. Newlines and
	// tabs are fine in them.
	Texts map[protoreflect.FullName]int
}

func (l *Limits) fillDefaults() {
	l.MaxStringBytes = orDefault(l.MaxStringBytes, defaultMaxString)
	l.MaxItems = orDefault(l.MaxItems, defaultMaxItems)
}

// Check is nil, or INVALID_ARGUMENT with the path of each field at fault.
func (l Limits) Check(msg proto.Message) error {
	l.fillDefaults()
	w := walk{limits: l}
	w.message("", msg.ProtoReflect())
	return w.faults.Err()
}

// walk goes through a request and notes what is wrong with it.
type walk struct {
	limits Limits
	faults errs.Fields
	count  int
}

func (w *walk) fault(path, why string, args ...any) {
	if w.count++; w.count <= maxViolations {
		w.faults.Add(path, fmt.Sprintf(why, args...))
	}
}

func (w *walk) message(path string, msg protoreflect.Message) {
	switch known := msg.Interface().(type) {
	case *timestamppb.Timestamp:
		w.valid(path, known.CheckValid())
	case *durationpb.Duration:
		w.valid(path, known.CheckValid())
	default:
		msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
			w.field(join(path, string(field.Name())), field, value)
			return w.count < maxViolations
		})
	}
}

func (w *walk) valid(path string, err error) {
	if err != nil {
		w.fault(path, "%v", err)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (w *walk) field(path string, field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch {
	case field.IsList():
		w.list(path, field, value.List())
	case field.IsMap():
		w.entries(path, field, value.Map())
	default:
		w.value(path, field, value)
	}
}

func (w *walk) list(path string, field protoreflect.FieldDescriptor, list protoreflect.List) {
	if list.Len() > w.limits.MaxItems {
		w.fault(path, "has %d items, at most %d", list.Len(), w.limits.MaxItems)
		return
	}
	for i := range list.Len() {
		w.value(fmt.Sprintf("%s[%d]", path, i), field, list.Get(i))
	}
}

func (w *walk) entries(path string, field protoreflect.FieldDescriptor, entries protoreflect.Map) {
	if entries.Len() > w.limits.MaxItems {
		w.fault(path, "has %d entries, at most %d", entries.Len(), w.limits.MaxItems)
		return
	}
	entries.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		at := fmt.Sprintf("%s[%.40q]", path, key.String())
		w.value(at, field.MapKey(), key.Value())
		w.value(at, field.MapValue(), value)
		return w.count < maxViolations
	})
}

func (w *walk) value(path string, field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch field.Kind() {
	case protoreflect.StringKind:
		w.text(path, field, value.String())
	case protoreflect.EnumKind:
		if field.Enum().Values().ByNumber(value.Enum()) == nil {
			w.fault(path, "%d is no value of %s", value.Enum(), field.Enum().Name())
		}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		w.message(path, value.Message())
	}
}

func (w *walk) text(path string, field protoreflect.FieldDescriptor, text string) {
	limit, lines := w.limits.Texts[field.FullName()]
	if !lines {
		limit = w.limits.MaxStringBytes
	}
	if len(text) > limit {
		w.fault(path, "is %d bytes long, at most %d", len(text), limit)
		return
	}
	if !utf8.ValidString(text) {
		w.fault(path, "is not valid UTF-8")
		return
	}
	for at, r := range text {
		if unwanted(r) && !(lines && (r == '\n' || r == '\t')) {
			w.fault(path, "holds the character %U at byte %d", r, at)
			return
		}
	}
}

// unwanted is what has no place in a name or a value: controls, and what ends a line or turns the
// direction of writing.
func unwanted(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' ||
		unicode.Is(unicode.Bidi_Control, r)
}
