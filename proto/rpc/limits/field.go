// Package limits reads the limits of fields from the proto files, where they stand as options, and
// checks requests against them. Servers refuse with them, and the command line and the docs show
// them.
package limits

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/proto/size"
	limitsv1 "github.com/understudy-db/understudy/proto/understudy/limits/v1"
)

const (
	// maxLen bounds a text or bytes whose field has no limit of its own.
	maxLen = 4 << 10
	// maxItems bounds a list or a map whose field has no limit of its own.
	maxItems = 1000
)

// Field is a field with its limits.
type Field struct {
	desc              protoreflect.FieldDescriptor
	rule              *limitsv1.FieldLimits
	shortest, longest time.Duration
}

var known sync.Map // of Field by protoreflect.FieldDescriptor

// Of are the limits of a field. It panics when an option of the proto file has a duration that is
// not one; a test reads them all.
func Of(desc protoreflect.FieldDescriptor) Field {
	if f, ok := known.Load(desc); ok {
		return f.(Field)
	}
	rule, _ := proto.GetExtension(desc.Options(), limitsv1.E_Field).(*limitsv1.FieldLimits)
	f := Field{desc: desc, rule: rule, shortest: duration(rule.GetMinDuration()),
		longest: duration(rule.GetMaxDuration())}
	known.Store(desc, f)
	return f
}

// Lookup are the limits of the field at a path of names, "fencing_token.job". It panics when there
// is no such field.
func Lookup(msg proto.Message, path string) Field {
	desc := msg.ProtoReflect().Descriptor()
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		desc = desc.Fields().ByName(protoreflect.Name(name)).Message()
	}
	return Of(desc.Fields().ByName(protoreflect.Name(names[len(names)-1])))
}

func duration(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(fmt.Sprintf("a proto file has a bad limit: %v", err))
	}
	return d
}

// Limited says whether the proto file has limits for the field.
func (f Field) Limited() bool { return f.rule != nil }

// Required says whether the field must be set.
func (f Field) Required() bool { return f.rule.GetRequired() }

// Default is what an absent field means, as a user writes it; empty when the proto file has none.
func (f Field) Default() string { return f.rule.GetDefault() }

// OneOf are the texts that are allowed; none when any is.
func (f Field) OneOf() []string { return f.rule.GetOneOf() }

// Format is the form of a text.
func (f Field) Format() limitsv1.Format { return f.rule.GetFormat() }

// Text is what a value must be, to be read after "must be": "1s to 1m0s", "at least 512MiB",
// "one of ext4, xfs". It is empty when any value is right.
func (f Field) Text() string {
	switch {
	case f.rule.GetFormat() != 0:
		return formatOf(f.rule.GetFormat()).text
	case len(f.rule.GetOneOf()) > 0:
		return "one of " + strings.Join(f.rule.GetOneOf(), ", ")
	case f.desc.Kind() == protoreflect.EnumKind:
		return "one of " + strings.Join(Values(f.desc.Enum()), ", ")
	case f.shortest != 0 || f.longest != 0:
		return f.durations()
	case f.rule.GetMaxLen() > 0:
		return "at most " + number(int64(f.rule.GetMaxLen()), true)
	}
	return f.numbers()
}

func (f Field) durations() string {
	text := bounds(f.shortest != 0, f.longest != 0, shortDuration(f.shortest),
		shortDuration(f.longest))
	if f.rule.GetWholeSeconds() {
		text += " in whole seconds"
	}
	return text
}

func (f Field) numbers() string {
	bytes := strings.HasSuffix(string(f.desc.Name()), "_bytes")
	text := bounds(f.rule != nil && f.rule.Min != nil, f.rule != nil && f.rule.Max != nil,
		number(f.rule.GetMin(), bytes), number(f.rule.GetMax(), bytes))
	if m := f.rule.GetMultipleOf(); m != 0 {
		text += " in steps of " + number(m, bytes)
	}
	return text
}

func bounds(hasLeast, hasMost bool, least, most string) string {
	switch {
	case hasLeast && hasMost:
		return least + " to " + most
	case hasLeast:
		return "at least " + least
	case hasMost:
		return "at most " + most
	}
	return ""
}

// number is a number, as "512MiB" when it counts bytes.
func number(n int64, bytes bool) string {
	if !bytes {
		return strconv.FormatInt(n, 10)
	}
	return size.Exact(n)
}

// shortDuration is a duration without the parts that are 0: "24h", "90s".
func shortDuration(d time.Duration) string {
	switch {
	case d >= 2*time.Minute && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d >= time.Second && d%time.Second == 0:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return d.String()
}

// Values are the names of an enum's values but 0, without their prefix.
func Values(enum protoreflect.EnumDescriptor) []string {
	var names []string
	values := enum.Values()
	prefix := strings.TrimSuffix(string(values.Get(0).Name()), "UNSPECIFIED")
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			names = append(names, strings.TrimPrefix(string(v.Name()), prefix))
		}
	}
	return names
}

// format is a rule that is ready for use.
type format struct {
	pattern *regexp.Regexp
	text    string
}

var formats = sync.OnceValue(func() map[limitsv1.Format]format {
	all := map[limitsv1.Format]format{}
	values := limitsv1.Format(0).Descriptor().Values()
	for i := range values.Len() {
		rule, _ := proto.GetExtension(values.Get(i).Options(),
			limitsv1.E_Rule).(*limitsv1.FormatRule)
		all[limitsv1.Format(values.Get(i).Number())] = format{text: rule.GetText(),
			pattern: regexp.MustCompile(`\A(?:` + rule.GetPattern() + `)\z`)}
	}
	return all
})

func formatOf(f limitsv1.Format) format { return formats()[f] }
