package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/rpc/limits"
	limitsv1 "github.com/understudy-db/understudy/proto/understudy/limits/v1"
)

// field is a field of a request, which a flag or an argument sets. It is a pflag.Value: how a word
// is read follows from the field's type, and its limits from the proto file.
type field struct {
	holder protoreflect.Message
	desc   protoreflect.FieldDescriptor
	limits limits.Field
	now    func() time.Time
}

// newField is the field at a path of names, "server.etag"; the messages on the way are made.
func newField(req proto.Message, path string, now func() time.Time) *field {
	f := &field{holder: req.ProtoReflect(), now: now, limits: limits.Lookup(req, path)}
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		desc := f.holder.Descriptor().Fields().ByName(protoreflect.Name(name))
		f.holder = f.holder.Mutable(desc).Message()
	}
	f.desc = f.holder.Descriptor().Fields().ByName(protoreflect.Name(names[len(names)-1]))
	return f
}

// Set reads a word into the field. A list takes several words with commas, a map NAME=VALUE.
func (f *field) Set(text string) error {
	switch {
	case f.desc.IsMap():
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("must be NAME=VALUE")
		}
		f.holder.Mutable(f.desc).Map().Set(protoreflect.ValueOfString(name).MapKey(),
			protoreflect.ValueOfString(value))
	case f.desc.IsList():
		for word := range strings.SplitSeq(text, ",") {
			value, err := f.value(strings.TrimSpace(word))
			if err != nil {
				return err
			}
			f.holder.Mutable(f.desc).List().Append(value)
		}
	default:
		value, err := f.value(text)
		if err != nil {
			return err
		}
		f.holder.Set(f.desc, value)
	}
	return nil
}

func (f *field) value(text string) (value protoreflect.Value, err error) {
	switch f.desc.Kind() {
	case protoreflect.BoolKind:
		on, err := strconv.ParseBool(text)
		if err != nil {
			return value, errors.New("must be true or false")
		}
		return protoreflect.ValueOfBool(on), nil
	case protoreflect.EnumKind:
		name := strings.ToUpper(strings.ReplaceAll(text, "-", "_"))
		prefix := strings.TrimSuffix(string(f.desc.Enum().Values().Get(0).Name()), "UNSPECIFIED")
		v := f.desc.Enum().Values().ByName(protoreflect.Name(prefix + name))
		if v == nil || v.Number() == 0 {
			return value, errors.New("must be one of " + strings.Join(f.words(), ", "))
		}
		return protoreflect.ValueOfEnum(v.Number()), nil
	case protoreflect.StringKind:
		if text == "" {
			return protoreflect.ValueOfString(""), nil
		}
		return protoreflect.ValueOfString(f.prefix() + strings.TrimPrefix(text, f.prefix())), nil
	case protoreflect.MessageKind:
		return f.moment(text)
	case protoreflect.BytesKind: // of a file, which the verb reads
		return protoreflect.ValueOfBytes([]byte(text)), nil
	default:
		return f.number(text)
	}
}

// prefix is what names of the field's kind of resource begin with, which users leave out.
func (f *field) prefix() string {
	switch f.limits.Format() {
	case limitsv1.Format_FORMAT_SERVER, limitsv1.Format_FORMAT_CERTIFIED:
		return serverKind + "/"
	case limitsv1.Format_FORMAT_OPERATOR:
		return operatorKind + "/"
	case limitsv1.Format_FORMAT_SNAPSHOT:
		return snapshotKind + "/"
	case limitsv1.Format_FORMAT_JOB:
		return jobKind + "/"
	}
	return ""
}

func (f *field) number(text string) (value protoreflect.Value, err error) {
	var n int64
	if f.isBytes() {
		n, err = show.ParseBytes(text)
	} else if n, err = strconv.ParseInt(text, 10, 32); err != nil {
		err = errors.New("must be a whole number")
	}
	if err != nil {
		return value, err
	}
	if n == 0 && f.limits.Text() != "" { // which the request cannot tell from an absent field
		return value, errors.New("must be " + f.limits.Text())
	}
	if f.desc.Kind() == protoreflect.Int32Kind {
		return protoreflect.ValueOfInt32(int32(n)), nil
	}
	return protoreflect.ValueOfInt64(n), nil
}

func (f *field) isBytes() bool { return strings.HasSuffix(string(f.desc.Name()), "_bytes") }

// moment reads a duration, or a point in time.
func (f *field) moment(text string) (value protoreflect.Value, err error) {
	if f.desc.Message().FullName() == "google.protobuf.Timestamp" {
		t, err := show.ParseTime(text, f.now())
		return protoreflect.ValueOfMessage(timestamppb.New(t).ProtoReflect()), err
	}
	d, err := show.ParseDuration(text)
	if err == nil && d == 0 {
		err = errors.New("must be " + f.limits.Text())
	}
	return protoreflect.ValueOfMessage(durationpb.New(d).ProtoReflect()), err
}

// words are the values that the field takes, when they can be counted.
func (f *field) words() []string {
	if f.desc.Kind() != protoreflect.EnumKind {
		return f.limits.OneOf()
	}
	words := limits.Values(f.desc.Enum())
	for i, word := range words {
		words[i] = strings.ToLower(word)
	}
	return words
}

// String is empty: what a field is when no flag sets it stands in the flag's help.
func (f *field) String() string { return "" }

// Type names the kind of value in help.
func (f *field) Type() string {
	switch words := f.words(); {
	case f.desc.Kind() == protoreflect.BoolKind:
		return "bool"
	case len(words) > 0 && !f.desc.IsList():
		return strings.Join(words, "|")
	case f.isBytes():
		return "SIZE"
	case f.desc.Kind() == protoreflect.MessageKind:
		return "TIME"
	}
	return strings.ToUpper(string(f.desc.Name()))
}

// help is a flag's text with the limits of its field, and with what holds when it is left out.
func (f *field) help(text, absent string) string {
	var notes []string
	numeric := f.isBytes() || f.desc.Kind() == protoreflect.Int32Kind ||
		f.desc.Kind() == protoreflect.MessageKind
	if limit := f.limits.Text(); numeric && limit != "" {
		notes = append(notes, limit)
	}
	if f.desc.IsList() && len(f.words()) > 0 {
		notes = append(notes, strings.Join(f.words(), ", "))
	}
	if absent == "" {
		absent = f.limits.Default()
	}
	switch {
	case absent != "":
		notes = append(notes, "default "+absent)
	case f.limits.Required():
		notes = append(notes, "required")
	}
	if len(notes) == 0 {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, strings.Join(notes, "; "))
}
