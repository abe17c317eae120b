// Package enum gives the values of proto enums the words by which the rest of the program calls
// them, computed from their names: the word of KIND_CREATE_REPLICA of Job.Kind is "create_replica".
package enum

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Enum is a generated enum whose value 0 is named PREFIX_UNSPECIFIED.
type Enum interface {
	~int32
	protoreflect.Enum
}

// Of is the value whose word is text, in any case and with dashes or underscores; 0 when there is
// none.
func Of[E Enum](text string) E {
	var zero E
	word := strings.ToUpper(strings.ReplaceAll(text, "-", "_"))
	values := zero.Descriptor().Values()
	if v := values.ByName(protoreflect.Name(prefix(values) + word)); v != nil {
		return E(v.Number())
	}
	return zero
}

// Word is the word of a value; "" for 0 and for a value that this version of the program does not
// know.
func Word[E Enum](value E) string {
	values := value.Descriptor().Values()
	v := values.ByNumber(protoreflect.EnumNumber(value))
	if value == 0 || v == nil {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix(values)))
}

// Words are the words of all values but 0, in order of their numbers in the proto file.
func Words[E Enum]() []string {
	var zero E
	values := zero.Descriptor().Values()
	var words []string
	for i := range values.Len() {
		if word := Word(E(values.Get(i).Number())); word != "" {
			words = append(words, word)
		}
	}
	return words
}

func prefix(values protoreflect.EnumValueDescriptors) string {
	return strings.TrimSuffix(string(values.ByNumber(0).Name()), "UNSPECIFIED")
}
