package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

const (
	mostText       = 512
	mostItems      = 50
	mostParameters = 8 << 10
	mostBrief      = 128
)

// Key makes hashes of secrets that nobody can compare with guesses who has not got it. It stays on
// its host.
type Key []byte

// Hash is the keyed hash of a secret. The same secret has the same hash on the same host.
func (k Key) Hash(secret []byte) string {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte("secret\x00"))
	mac.Write(secret)
	return "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// ID tells keys apart, and nothing of them.
func (k Key) ID() string {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte("id\x00"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// Seal is the proof that who has the key wrote the record with that hash into the chain.
func (k Key) Seal(chain, hash string) string {
	mac := hmac.New(sha256.New, k)
	fmt.Fprintf(mac, "seal\x00%s\x00%s", chain, hash)
	return hex.EncodeToString(mac.Sum(nil))
}

// Sealed says whether a seal is right.
func (k Key) Sealed(chain, hash, seal string) bool {
	return hmac.Equal([]byte(k.Seal(chain, hash)), []byte(seal))
}

// Parameters are the fields of a request that are set, by name. Fields that the proto file redacts
// are keyed hashes; bytes are a hash; long texts and lists are cut. When all of it is longer than
// 8 KiB, its size and its hash are left.
func Parameters(request proto.Message, key Key) json.RawMessage {
	if request == nil || !request.ProtoReflect().IsValid() {
		return nil
	}
	text, err := json.Marshal(fieldsOf(request.ProtoReflect(), key))
	if err != nil {
		text = fmt.Appendf(nil, `{"unreadable":%q}`, err)
	}
	return brief(text, mostParameters, key)
}

// brief are parameters that are longer than that as their size and their keyed hash.
func brief(text json.RawMessage, most int, key Key) json.RawMessage {
	if len(text) <= most {
		return text
	}
	return fmt.Appendf(nil, `{"bytes":%d,"hash":%q}`, len(text), key.Hash(text))
}

func fieldsOf(msg protoreflect.Message, key Key) map[string]any {
	fields := map[string]any{}
	msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		fields[string(field.Name())] = valueOf(field, value, key)
		return true
	})
	return fields
}

func valueOf(field protoreflect.FieldDescriptor, value protoreflect.Value, key Key) any {
	one := func(v protoreflect.Value) any { return scalarOf(field, v, key) }
	switch {
	case field.IsList():
		list := value.List()
		var all []any
		for i := range min(list.Len(), mostItems) {
			all = append(all, one(list.Get(i)))
		}
		if more := list.Len() - len(all); more > 0 {
			all = append(all, fmt.Sprintf("… and %d more", more))
		}
		return all
	case field.IsMap():
		all := map[string]any{}
		value.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			if name := cut(k.String(), key); isSecret(field) || secretOption.MatchString(name) {
				all[name] = key.Hash([]byte(v.String()))
			} else {
				all[name] = scalarOf(field.MapValue(), v, key)
			}
			return len(all) < mostItems
		})
		return all
	}
	return one(value)
}

func scalarOf(field protoreflect.FieldDescriptor, value protoreflect.Value, key Key) any {
	switch kind := field.Kind(); {
	case isSecret(field) && kind == protoreflect.BytesKind:
		return key.Hash(value.Bytes())
	case isSecret(field):
		return key.Hash([]byte(value.String()))
	case kind == protoreflect.BytesKind:
		return fmt.Sprintf("sha256:%s (%d bytes)", sum(value.Bytes()), len(value.Bytes()))
	case kind == protoreflect.StringKind:
		return cut(value.String(), key)
	case kind == protoreflect.EnumKind:
		if known := field.Enum().Values().ByNumber(value.Enum()); known != nil {
			return known.Name()
		}
		return value.Enum()
	case field.Message() != nil && field.Message().FullName().Parent() == "google.protobuf":
		text, err := protojson.Marshal(value.Message().Interface())
		if err != nil {
			return "unreadable"
		}
		return json.RawMessage(text)
	case field.Message() != nil:
		return fieldsOf(value.Message(), key)
	}
	return value.Interface()
}

// secretOption are names of options whose values are secrets, also where no such option is allowed:
// a call that is refused is recorded too.
var secretOption = regexp.MustCompile(
	`(?i)pass|secret|private|token|credential|auth|(file|_|^)key$`)

// isSecret says whether the proto file redacts the field where it is printed.
func isSecret(field protoreflect.FieldDescriptor) bool {
	options, _ := field.Options().(*descriptorpb.FieldOptions)
	return options.GetDebugRedact()
}

// cut is the beginning of a text that is too long, with its size and keyed hash.
func cut(text string, key Key) string {
	if len(text) <= mostText {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes, %s)", text[:mostText], len(text), key.Hash([]byte(text)))
}
