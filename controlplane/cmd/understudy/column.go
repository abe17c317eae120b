package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/proto/size"
)

// column is a fact about records of a kind: a column of their list, or a line of one record.
type column[R proto.Message] struct {
	// head names it: "SIZE" in a list, "size" in a record.
	head string
	// path is the field that it is made of and sorted by, "verified.level".
	path string
	// text is in place of the field's own text.
	text func(R) string
	// lines are in place of one text, in a record.
	lines func(R) []string
	// wide columns are shown with -o wide alone.
	wide bool
}

// cell is the text of a column; times are ages where an age is asked for.
func (col column[R]) cell(st show.Style, r R, age func(time.Time) string) string {
	text := ""
	if col.text != nil {
		text = show.Clean(col.text(r))
	} else if value, desc := valueAt(r, col.path); desc != nil {
		text = textOf(value, desc, age)
	}
	if name := col.path[strings.LastIndex(col.path, ".")+1:]; name == "state" {
		return st.State(text)
	}
	return text
}

// valueAt is the field at a path of names; no descriptor when a message on the way is absent.
func valueAt(r proto.Message, path string) (protoreflect.Value, protoreflect.FieldDescriptor) {
	msg := r.ProtoReflect()
	names := strings.Split(path, ".")
	for i, name := range names {
		desc := msg.Descriptor().Fields().ByName(protoreflect.Name(name))
		if desc == nil || desc.HasPresence() && !msg.Has(desc) {
			return protoreflect.Value{}, nil
		}
		if i == len(names)-1 {
			return msg.Get(desc), desc
		}
		msg = msg.Get(desc).Message()
	}
	return protoreflect.Value{}, nil
}

// textOf is a value as users read it.
func textOf(value protoreflect.Value, desc protoreflect.FieldDescriptor,
	age func(time.Time) string) string {
	if desc.IsMap() {
		var pairs []string
		value.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
			pairs = append(pairs, show.Clean(key.String()+"="+v.String()))
			return true
		})
		slices.Sort(pairs)
		return strings.Join(pairs, " ")
	}
	switch desc.Kind() {
	case protoreflect.BoolKind:
		return map[bool]string{true: "yes", false: "no"}[value.Bool()]
	case protoreflect.EnumKind:
		return enumWord(desc.Enum(), value.Enum())
	case protoreflect.StringKind:
		return resourceID(value.String())
	case protoreflect.MessageKind:
		return momentText(value.Message().Interface(), age)
	}
	text := value.String()
	switch {
	case text == "0":
		return ""
	case strings.HasSuffix(string(desc.Name()), "_bytes"):
		return size.Text(value.Int())
	}
	return text
}

// enumWord is the word of a value; states are in capitals.
func enumWord(enum protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	value := enum.Values().ByNumber(n)
	if n == 0 || value == nil {
		return ""
	}
	word := strings.TrimPrefix(string(value.Name()),
		strings.TrimSuffix(string(enum.Values().Get(0).Name()), "UNSPECIFIED"))
	if enum.Name() == "State" {
		return word
	}
	return strings.ToLower(word)
}

// resourceID is a text, the name of a resource without its kind.
func resourceID(text string) string {
	kind, _, found := strings.Cut(text, "/")
	if found && (kind == serverKind || kind == snapshotKind || kind == jobKind) {
		return show.ID(text)
	}
	return show.Clean(text)
}

func momentText(msg proto.Message, age func(time.Time) string) string {
	switch known := msg.(type) {
	case *timestamppb.Timestamp:
		return age(known.AsTime())
	case *durationpb.Duration:
		return show.Duration(known.AsDuration())
	}
	return ""
}

// compare orders two records by a column: numbers, times and durations by their size, all else by
// its text.
func (col column[R]) compare(a, b R) int {
	if col.path == "" {
		return cmp.Compare(col.text(a), col.text(b))
	}
	x, xDesc := valueAt(a, col.path)
	y, yDesc := valueAt(b, col.path)
	if xDesc == nil || yDesc == nil {
		return cmp.Compare(weight(xDesc), weight(yDesc))
	}
	switch xDesc.Kind() {
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return cmp.Compare(x.Int(), y.Int())
	case protoreflect.Uint32Kind:
		return cmp.Compare(x.Uint(), y.Uint())
	case protoreflect.MessageKind:
		return cmp.Compare(nanoseconds(x.Message().Interface()),
			nanoseconds(y.Message().Interface()))
	}
	exact := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	return cmp.Compare(textOf(x, xDesc, exact), textOf(y, yDesc, exact))
}

// weight puts what is absent first.
func weight(desc protoreflect.FieldDescriptor) int {
	if desc == nil {
		return 0
	}
	return 1
}

func nanoseconds(msg proto.Message) int64 {
	switch known := msg.(type) {
	case *timestamppb.Timestamp:
		return known.AsTime().UnixNano()
	case *durationpb.Duration:
		return int64(known.AsDuration())
	}
	return 0
}

// stamp is a point in time as users read it, in their own zone; "" for none.
func stamp(t time.Time) string {
	if t.IsZero() || t.Unix() == 0 {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}

// record is one record, a line each fact.
func record[R proto.Message](st show.Style, r R, columns []column[R]) string {
	var fields []show.Field
	for _, col := range columns {
		lines := col.lines
		if lines == nil {
			lines = func(r R) []string { return []string{col.cell(st, r, stamp)} }
		}
		if col.head == "" { // more about the one before
			last := &fields[len(fields)-1]
			last.Values = append(last.Values, lines(r)...)
			continue
		}
		fields = append(fields, show.Field{Name: col.head, Values: lines(r)})
	}
	return show.Fields(st, fields)
}
