package agentpool

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// full sets every field of a message to something that is not its zero value.
func full[M proto.Message](m M) M {
	fill(m.ProtoReflect())
	return m
}

func fill(m protoreflect.Message) {
	switch m.Interface().(type) {
	case *durationpb.Duration:
		m.Set(m.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOfInt64(3))
		return
	case *timestamppb.Timestamp:
		m.Set(m.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOfInt64(1_700_000_000))
		return
	}
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		switch {
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(f).List().AppendMutable().Message())
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("x").MapKey(), scalar(f.MapValue()))
		case f.IsList() && f.Kind() == protoreflect.Int64Kind:
			m.Mutable(f).List().Append(scalar(f))
		case f.IsList():
			m.Mutable(f).List().Append(protoreflect.ValueOfString("x"))
		case f.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(f).Message())
		default:
			m.Set(f, scalar(f))
		}
	}
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(5)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(5)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(5)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(5)
	case protoreflect.EnumKind:
		last := f.Enum().Values().Len() - 1
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(last).Number())
	}
	panic(fmt.Sprintf("no value for %s", f.FullName()))
}

// unset are the fields of a value, deeply, that are zero.
func unset(v reflect.Value, path string) []string {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		return unset(v.Elem(), path)
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() &&
		v.Type() != reflect.TypeFor[kit.Secret]():
		var all []string
		for i := range v.NumField() {
			all = append(all, unset(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
		return all
	case v.Kind() == reflect.Slice && v.Len() > 0 && v.Index(0).Kind() == reflect.Struct:
		return unset(v.Index(0), path+"[0]")
	case v.IsZero():
		return []string{path}
	}
	return nil
}

// TestNothingIsLostFromTheWire converts messages that have all fields set: each field of the
// domain's types gets something.
func TestNothingIsLostFromTheWire(t *testing.T) {
	t.Parallel()
	converted := map[string]any{
		"host":     hostInfo(full(&agentv1.GetHostResponse{})),
		"unit":     unit(full(&agentv1.Unit{})),
		"device":   blockDevice(full(&agentv1.BlockDevice{})),
		"mount":    mount(full(&agentv1.Mount{})),
		"status":   answered(full(&agentv1.GetStatusResponse{}), time.Now()),
		"point":    consistentPoint(full(&agentv1.ConsistentPoint{})),
		"result":   holdResult(full(&agentv1.QuiesceResult{})),
		"checksum": tableChecksum(full(&agentv1.ChecksumTablesResponse{}), 1),
		"object":   object(full(&agentv1.InventoryObject{})),
		"table":    table(full(&agentv1.Table{})),
		"rows":     rowSums(full(&agentv1.ChecksumRowsResponse{})),
		"waited":   waited(full(&agentv1.WaitForGtidResponse{})),
	}
	for name, value := range converted {
		if missing := unset(reflect.ValueOf(value), name); missing != nil {
			t.Errorf("not converted: %s", strings.Join(missing, ", "))
		}
	}
}

// given sets every field of a struct to something that is not its zero value.
func given[T any]() T {
	var v T
	give(reflect.ValueOf(&v).Elem())
	return v
}

func give(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			give(v.Field(i))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(5 * time.Second))
		if v.Kind() != reflect.Int64 || v.Type() != reflect.TypeFor[time.Duration]() {
			v.SetInt(5)
		}
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		give(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		give(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"x": "x"}))
	default:
		panic("no value for " + v.Type().String())
	}
}

// TestNothingIsLostOnTheWire converts requests that have all fields set: each field of the message
// gets something.
func TestNothingIsLostOnTheWire(t *testing.T) {
	t.Parallel()
	hold := given[kit.Quiesce]()
	hold.Mode = inventory.ModeOnline
	for _, m := range []proto.Message{
		fencingToken(given[kit.FencingToken]()), ensureMount(given[kit.EnsureMount]()),
		configuration(given[kit.Configuration]()), quiesceStart(hold),
	} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if f := fields.Get(i); !m.ProtoReflect().Has(f) {
				t.Errorf("not converted: %s", f.FullName())
			}
		}
	}
}

func TestModesAndRoles(t *testing.T) {
	t.Parallel()
	for _, mode := range []inventory.SnapshotMode{inventory.ModeOnline, inventory.ModeOffline,
		inventory.ModeCrash} {
		if got := quiesceStart(kit.Quiesce{Mode: mode}).GetMode().String(); got != "MODE_"+
			string(mode) {
			t.Errorf("%s became %s", mode, got)
		}
	}
	if serverRole(true) != agentv1.ServerRole_SERVER_ROLE_REPLICA ||
		serverRole(false) != agentv1.ServerRole_SERVER_ROLE_PRIMARY {
		t.Error("roles are mixed up")
	}
	if fencingToken(kit.FencingToken{}) != nil || duration(0) != nil || !moment(nil).IsZero() {
		t.Error("what is not told is told")
	}
}

// TestMissingOfAnEarlierAgentProvesNothing: it says so of a table that it could not read.
func TestMissingOfAnEarlierAgentProvesNothing(t *testing.T) {
	t.Parallel()
	said := &agentv1.ChecksumTablesResponse{Table: "a.t", Missing: true}
	if got := tableChecksum(said, 0); got.Missing || got.Problem == "" {
		t.Errorf("of an earlier version: %+v", got)
	}
	if got := tableChecksum(said, 1); !got.Missing || got.Problem != "" {
		t.Errorf("of this version: %+v", got)
	}
}
