package limits_test

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/understudy-db/understudy/proto/rpc/limits"
	"github.com/understudy-db/understudy/proto/rpc/rpcfuzz"
	_ "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	_ "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// requests are those of every method of the product.
func requests() []protoreflect.MessageType {
	var all []protoreflect.MessageType
	for _, pkg := range []protoreflect.FullName{"understudy.agent.v1",
		"understudy.controlplane.v1"} {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg,
			func(file protoreflect.FileDescriptor) bool {
				for i := range file.Services().Len() {
					methods := file.Services().Get(i).Methods()
					for j := range methods.Len() {
						if found, err := protoregistry.GlobalTypes.FindMessageByName(
							methods.Get(j).Input().FullName()); err == nil {
							all = append(all, found)
						}
					}
				}
				return true
			})
	}
	return all
}

// message is an empty message of that description.
func message(desc protoreflect.MessageDescriptor) protoreflect.Message {
	found, err := protoregistry.GlobalTypes.FindMessageByName(desc.FullName())
	if err != nil {
		panic(err)
	}
	return found.New()
}

// FuzzCheck holds what passes against a reading of its own: whatever the method, no
// text has a control character.
func FuzzCheck(f *testing.F) {
	all := requests()
	if len(all) < 60 {
		f.Fatalf("%d methods were found", len(all))
	}
	for i := range all {
		f.Add(uint8(i), []byte{3, byte(i), 5, 'd', 'b', '\n', '1', 0, 1, 2, 'a', 'b'})
		f.Add(uint8(i), []byte{9, 0, 8, 's', 'e', 'r', 'v', 'e', 'r', 's', '/', 1, 2, 3, 4, 5, 6, 7,
			8})
	}
	f.Fuzz(func(t *testing.T, method uint8, data []byte) {
		request := all[int(method)%len(all)].New().Interface()
		rpcfuzz.Fill(request, data)
		if limits.Check(request) == nil {
			clean(t, request.ProtoReflect())
		}
		_ = proto.Unmarshal(data, request) // as it may come over the wire
		if limits.Check(request) == nil {
			clean(t, request.ProtoReflect())
		}
	})
}

func clean(t *testing.T, msg protoreflect.Message) {
	msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			value.Map().Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
				cleanText(t, key.String())
				return true
			})
		case field.IsList():
			for i := range value.List().Len() {
				cleanValue(t, field, value.List().Get(i))
			}
		default:
			cleanValue(t, field, value)
		}
		return true
	})
}

func cleanValue(t *testing.T, field protoreflect.FieldDescriptor, value protoreflect.Value) {
	switch field.Kind() {
	case protoreflect.StringKind:
		cleanText(t, value.String())
	case protoreflect.MessageKind:
		clean(t, value.Message())
	}
}

func cleanText(t *testing.T, text string) {
	if !utf8.ValidString(text) {
		t.Errorf("%q passed", text)
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			t.Errorf("%q passed", text)
		}
	}
}
