package limits

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	limitsv1 "github.com/understudy-db/understudy/proto/understudy/limits/v1"
)

// maxViolations is where looking for more stops.
const maxViolations = 20

// Check is nil, or INVALID_ARGUMENT with the path of each field at fault and what it must be.
// Besides the limits of the proto file, texts are UTF-8 without control characters, enums have
// known values, times and durations are valid. No violation repeats a value.
func Check(msg proto.Message) error {
	var w walk
	w.message("", msg.ProtoReflect())
	return w.faults.Err()
}

// walk goes through a request and notes what is wrong with it.
type walk struct {
	faults errs.Fields
	count  int
}

func (w *walk) fault(path, why string) {
	if w.count++; w.count <= maxViolations {
		w.faults.Add(path, why)
	}
}

func (w *walk) message(path string, msg protoreflect.Message) {
	fields := msg.Descriptor().Fields()
	for i := 0; i < fields.Len() && w.count < maxViolations; i++ {
		field := Of(fields.Get(i))
		at := join(path, string(field.desc.Name()))
		switch {
		case !msg.Has(field.desc):
			if field.Required() {
				w.fault(at, field.missing())
			}
		case field.desc.IsList():
			w.list(at, field, msg.Get(field.desc).List())
		case field.desc.IsMap():
			w.entries(at, field, msg.Get(field.desc).Map())
		default:
			w.value(at, field, field.desc, msg.Get(field.desc))
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (w *walk) list(path string, field Field, list protoreflect.List) {
	if most := orDefault(field.rule.GetMaxItems(), maxItems); list.Len() > most {
		w.fault(path, fmt.Sprintf("has %d items, at most %d", list.Len(), most))
		return
	}
	for i := 0; i < list.Len() && w.count < maxViolations; i++ {
		w.value(fmt.Sprintf("%s[%d]", path, i), field, field.desc, list.Get(i))
	}
}

func (w *walk) entries(path string, field Field, entries protoreflect.Map) {
	if most := orDefault(field.rule.GetMaxItems(), maxItems); entries.Len() > most {
		w.fault(path, fmt.Sprintf("has %d entries, at most %d", entries.Len(), most))
		return
	}
	keys := Field{desc: field.desc.MapKey(),
		rule: &limitsv1.FieldLimits{Format: field.rule.GetKeyFormat()}}
	entries.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		at := fmt.Sprintf("%s[%.40q]", path, key.String())
		w.value(at, keys, keys.desc, key.Value())
		w.value(at, field, field.desc.MapValue(), value)
		return w.count < maxViolations
	})
}

func orDefault(n int32, fallback int) int {
	if n == 0 {
		return fallback
	}
	return int(n)
}

// value checks one value; desc says of what kind it is.
func (w *walk) value(path string, field Field, desc protoreflect.FieldDescriptor,
	value protoreflect.Value) {
	why := ""
	switch desc.Kind() {
	case protoreflect.StringKind:
		why = field.wrongText(value.String())
	case protoreflect.BytesKind:
		why = field.tooLong(len(value.Bytes()))
	case protoreflect.EnumKind:
		why = wrongEnum(desc.Enum(), value.Enum())
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		why = field.wrongNumber(value.Int())
	case protoreflect.Uint32Kind:
		why = field.wrongNumber(int64(value.Uint()))
	case protoreflect.MessageKind, protoreflect.GroupKind:
		why = w.inner(path, field, value.Message())
	}
	if why != "" {
		w.fault(path, why)
	}
}

// inner checks a message within a request.
func (w *walk) inner(path string, field Field, msg protoreflect.Message) string {
	switch known := msg.Interface().(type) {
	case *timestamppb.Timestamp:
		if !known.IsValid() {
			return "must be a valid time"
		}
	case *durationpb.Duration:
		return field.wrongDuration(known)
	default:
		w.message(path, msg)
	}
	return ""
}

func (f Field) missing() string {
	if text := f.Text(); text != "" &&
		(f.rule.GetFormat() != 0 || f.rule.GetMaxLen() == 0) {
		return "is required: " + text
	}
	return "is required"
}

func (f Field) wrongText(text string) string {
	if why := f.tooLong(len(text)); why != "" {
		return why
	}
	if !utf8.ValidString(text) {
		return "must be valid UTF-8"
	}
	for at, r := range text {
		if unwanted(r) && !(f.rule.GetLines() && (r == '\n' || r == '\t')) {
			return fmt.Sprintf("holds the character %U at byte %d", r, at)
		}
	}
	oneOf := f.rule.GetOneOf()
	if !formatOf(f.rule.GetFormat()).fits(text) || len(oneOf) > 0 && !slices.Contains(oneOf, text) {
		return "must be " + f.Text()
	}
	return ""
}

// fits is true for every text when the format has no rule.
func (f format) fits(text string) bool { return f.text == "" || f.pattern.MatchString(text) }

func (f Field) tooLong(length int) string {
	if most := orDefault(f.rule.GetMaxLen(), maxLen); length > most {
		return fmt.Sprintf("is %d bytes long, must be at most %d", length, most)
	}
	return ""
}

func (f Field) wrongNumber(n int64) string {
	r := f.rule
	if r == nil || (r.Min == nil || n >= *r.Min) && (r.Max == nil || n <= *r.Max) &&
		(r.MultipleOf == 0 || n%r.MultipleOf == 0) {
		return ""
	}
	return "must be " + f.numbers()
}

func (f Field) wrongDuration(d *durationpb.Duration) string {
	got := d.AsDuration()
	switch {
	case !d.IsValid():
		return "must be a valid duration"
	case f.shortest != 0 && got < f.shortest, f.longest != 0 && got > f.longest,
		f.longest != 0 && got < 0, f.rule.GetWholeSeconds() && got%time.Second != 0:
		return "must be " + f.durations()
	}
	return ""
}

func wrongEnum(enum protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	if enum.Values().ByNumber(n) != nil {
		return ""
	}
	return "must be one of " + strings.Join(Values(enum), ", ")
}

// unwanted is what has no place in a name or a value: controls, and what ends a line or turns the
// direction of writing.
func unwanted(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' ||
		unicode.Is(unicode.Bidi_Control, r)
}
