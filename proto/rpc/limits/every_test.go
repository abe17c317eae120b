package limits_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/limits"
	limitsv1 "github.com/understudy-db/understudy/proto/understudy/limits/v1"
)

// free are the fields that may hold any value of their type: those of one line whose rules are the
// configuration of a host, or need the rest of the request.
var free = []protoreflect.FullName{
	"understudy.agent.v1.ChecksumRowsRequest.chunks",
	"understudy.agent.v1.ChecksumTablesRequest.sample_seed",
	"understudy.agent.v1.ConfirmHistoryRequest.claim",
	"understudy.agent.v1.ConfirmHistoryRequest.reads",
	"understudy.agent.v1.FencingToken.effect_key",
	"understudy.agent.v1.FencingToken.job",
	"understudy.agent.v1.PrepareDatadirRequest.contract",
	"understudy.agent.v1.QuiesceRequest.adopt",
	"understudy.agent.v1.QuiesceRequest.resume",
	"understudy.agent.v1.QuiesceRequest.start",
	"understudy.agent.v1.SetConfigurationRequest.contract",
	"understudy.agent.v1.SetConfigurationRequest.log_bin",
	"understudy.agent.v1.SetConfigurationRequest.options",
	"understudy.agent.v1.SetConfigurationRequest.report_host",
	"understudy.agent.v1.SetDenyListRequest.certificates",
	"understudy.agent.v1.SetGrantsRequest.grants",
	"understudy.controlplane.v1.CleanupJobRequest.confirm_delete",
	"understudy.controlplane.v1.RedoStepRequest.confirm_delete",
	"understudy.controlplane.v1.UpdateServerRequest.update_mask",
}

// resources are messages within requests of which the request reads a few fields alone.
var resources = []protoreflect.FullName{"understudy.controlplane.v1.Server",
	"understudy.controlplane.v1.ServerDisk", "understudy.controlplane.v1.ServerMount",
	"understudy.controlplane.v1.Finding", "understudy.controlplane.v1.ServerJob",
	"understudy.errors.v1.Hint", "understudy.errors.v1.Action",
	"understudy.controlplane.v1.ServerProofs",
	"understudy.controlplane.v1.Verification"}

// unlimited says whether the type of a field is its limit: switches, enums, times, and the token
// that stands in all changing requests of the agent.
func unlimited(field protoreflect.FieldDescriptor) bool {
	switch field.Kind() {
	case protoreflect.BoolKind, protoreflect.EnumKind:
		return true
	case protoreflect.MessageKind:
		return field.Message().FullName() == "google.protobuf.Timestamp" ||
			field.Message().FullName() == "understudy.agent.v1.FencingToken"
	}
	return false
}

// fields are those of every request and of the messages within it, each once.
func fields() []protoreflect.FieldDescriptor {
	var all []protoreflect.FieldDescriptor
	seen := map[protoreflect.FullName]bool{}
	var visit func(protoreflect.MessageDescriptor)
	visit = func(msg protoreflect.MessageDescriptor) {
		if seen[msg.FullName()] || strings.HasPrefix(string(msg.FullName()), "google.") {
			return
		}
		seen[msg.FullName()] = true
		for i := range msg.Fields().Len() {
			field := msg.Fields().Get(i)
			all = append(all, field)
			if field.Kind() == protoreflect.MessageKind && !field.IsMap() {
				visit(field.Message())
			}
		}
	}
	for _, request := range requests() {
		visit(request.Descriptor())
	}
	return all
}

func TestEveryFieldOfARequestHasALimitOrIsFree(t *testing.T) {
	t.Parallel()
	found := 0
	for _, field := range fields() {
		isFree := slices.Contains(free, field.FullName())
		if isFree {
			found++
		}
		if slices.Contains(resources, field.Parent().FullName()) || unlimited(field) {
			continue
		}
		if limits.Of(field).Limited() == isFree {
			t.Errorf("%s: limited and free exclude each other, and one of them is needed",
				field.FullName())
		}
	}
	if found != len(free) {
		t.Errorf("%d of the free fields are in no request", len(free)-found)
	}
}

// TestEveryLimitHolds tries each field by itself: the values at its limits pass, those beyond are
// refused.
func TestEveryLimitHolds(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, field := range fields() {
		limit := limits.Of(field)
		if !limit.Limited() {
			continue
		}
		rule := proto.GetExtension(field.Options(), limitsv1.E_Field).(*limitsv1.FieldLimits)
		if rule.GetRequired() != refusedValue(field, protoreflect.Value{}) {
			t.Errorf("%s: absent, required %v", field.FullName(), rule.GetRequired())
		}
		within, beyond := values(field, rule)
		for _, v := range within {
			if tried++; refusedValue(field, v) {
				t.Errorf("%s: %v is within the limits, and refused", field.FullName(), v)
			}
		}
		for _, v := range beyond {
			if tried++; !refusedValue(field, v) {
				t.Errorf("%s: %v is beyond the limits, and passes", field.FullName(), v)
			}
		}
		if len(beyond) == 0 && !rule.GetRequired() {
			t.Errorf("%s: no value is refused", field.FullName())
		}
	}
	if tried < 300 {
		t.Errorf("%d values were tried", tried)
	}
}

// refusedValue says whether the check of a message names the field when it has that value, or is
// absent.
func refusedValue(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
	msg := message(field.Parent().(protoreflect.MessageDescriptor))
	if v.IsValid() {
		switch {
		case field.IsList():
			msg.Mutable(field).List().Append(v)
		case field.IsMap():
			msg.Mutable(field).Map().Set(protoreflect.ValueOfString("name").MapKey(), v)
		default:
			msg.Set(field, v)
		}
	}
	for _, wrong := range errs.FieldsOf(limits.Check(msg.Interface())) {
		name, _, _ := strings.Cut(wrong.Field, "[")
		if name == string(field.Name()) {
			return true
		}
	}
	return false
}

// values are some that a field may have and some that it may not.
func values(field protoreflect.FieldDescriptor, rule *limitsv1.FieldLimits) (within,
	beyond []protoreflect.Value) {
	kind := field.Kind()
	if field.IsMap() {
		kind = field.MapValue().Kind()
	}
	switch kind {
	case protoreflect.StringKind:
		return texts(rule)
	case protoreflect.BytesKind:
		n := int(rule.GetMaxLen())
		return []protoreflect.Value{protoreflect.ValueOfBytes(make([]byte, n))},
			[]protoreflect.Value{protoreflect.ValueOfBytes(make([]byte, n+1))}
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return numbers(field, rule)
	case protoreflect.MessageKind:
		if field.Message().FullName() == "google.protobuf.Duration" {
			return durations(rule)
		}
	case protoreflect.EnumKind:
		beyond = append(beyond, protoreflect.ValueOfEnum(9999))
		within = append(within, protoreflect.ValueOfEnum(1))
	}
	return within, beyond
}

const uuid = "6f1c2a34-0b5d-4c8e-9a51-3f4f7d1f8a10"

// examples are texts of each format, and some that nearly have it.
var examples = map[limitsv1.Format][2]string{
	limitsv1.Format_FORMAT_SERVER:    {"servers/db-1", "servers/db-"},
	limitsv1.Format_FORMAT_SNAPSHOT:  {"snapshots/snap-1", "snapshots/Snap"},
	limitsv1.Format_FORMAT_JOB:       {"jobs/9f3c", "jobs/"},
	limitsv1.Format_FORMAT_RESOURCE:  {"jobs/9f3c", "volumes/9f3c"},
	limitsv1.Format_FORMAT_CERTIFIED: {"operators/ann", "jobs/ann"},
	limitsv1.Format_FORMAT_OPERATOR:  {"operators/ann", "operators/Ann"},
	limitsv1.Format_FORMAT_REQUEST_ID: {strings.ToUpper(uuid),
		strings.ReplaceAll(uuid, "-", "")},
	limitsv1.Format_FORMAT_ETAG:            {"7", "\"7\""},
	limitsv1.Format_FORMAT_STEP:            {"mount_data", "mount-data"},
	limitsv1.Format_FORMAT_PLACE:           {"eu-west-1a.x", "a..b"},
	limitsv1.Format_FORMAT_OPTION:          {"max_connections", "--max"},
	limitsv1.Format_FORMAT_ACTION:          {"job.create", "job"},
	limitsv1.Format_FORMAT_TASK:            {"task-0123456789ab", "task-0123456789AB"},
	limitsv1.Format_FORMAT_GRANT:           {"grant-0123456789ab", "grant-0123456789AB"},
	limitsv1.Format_FORMAT_JWT:             {"eyJh.eyJz.c2ln", "eyJh.eyJz"},
	limitsv1.Format_FORMAT_PROVIDER_ID:     {"vol-0123abcd", "volume-0123abcd"},
	limitsv1.Format_FORMAT_DEVICE:          {"virtio-vol-1", "../sda"},
	limitsv1.Format_FORMAT_ADDRESS:         {"fe80::1", "db-1"},
	limitsv1.Format_FORMAT_FILESYSTEM_UUID: {uuid, strings.ToUpper(uuid)},
	limitsv1.Format_FORMAT_NONCE:           {strings.Repeat("0a", 16), strings.Repeat("0a", 33)},
	limitsv1.Format_FORMAT_DIGEST:          {strings.Repeat("0a", 16), strings.Repeat("0a", 33)},
	limitsv1.Format_FORMAT_AUDIT_CHAIN:     {"servers/db1/0123456789abcdef", "servers/db1"},
	limitsv1.Format_FORMAT_GENERATION:      {"0123456789abcdef", "0123456789ABCDEF"},
	limitsv1.Format_FORMAT_METHOD:          {"ServerService/Delete", "a b"},
	limitsv1.Format_FORMAT_INVOCATION_ID:   {strings.Repeat("0a", 16), strings.Repeat("0a", 17)},
	limitsv1.Format_FORMAT_BINLOG:          {"mariadb-bin.000012", "mariadb-bin"},
	limitsv1.Format_FORMAT_HOST:            {"10.0.0.1", "%"},
	limitsv1.Format_FORMAT_ACCOUNT_HOST:    {"%", "a%"},
	limitsv1.Format_FORMAT_ACCOUNT:         {"us_replica7", "'us'"},
	limitsv1.Format_FORMAT_RESERVATION:     {"job-1", "-job"},
	limitsv1.Format_FORMAT_DATADIR:         {"/var/lib/mysql", "/var/../lib"},
	limitsv1.Format_FORMAT_GTID:            {"0-1-100,1-2-7", "0-1"},
	limitsv1.Format_FORMAT_TABLE:           {"shop.orders", "orders"},
	limitsv1.Format_FORMAT_SERVER_PATTERN:  {"shop-*", "shop-?"},
	limitsv1.Format_FORMAT_REASON:          {"it is late", "  "},
}

func texts(rule *limitsv1.FieldLimits) (within, beyond []protoreflect.Value) {
	if n := int(rule.GetMaxLen()); n > 0 {
		beyond = append(beyond, protoreflect.ValueOfString(strings.Repeat("a", n+1)))
		if rule.GetFormat() == 0 {
			within = append(within, protoreflect.ValueOfString(strings.Repeat("a", n)))
		}
	}
	if pair, ok := examples[rule.GetFormat()]; ok {
		within = append(within, protoreflect.ValueOfString(pair[0]))
		for _, bad := range []string{pair[1], pair[0] + "\n", " " + pair[0] + "\x00"} {
			beyond = append(beyond, protoreflect.ValueOfString(bad))
		}
	}
	for _, one := range rule.GetOneOf() {
		within = append(within, protoreflect.ValueOfString(one))
		beyond = append(beyond, protoreflect.ValueOfString(one+"x"))
	}
	return within, append(beyond, protoreflect.ValueOfString("a\x00"))
}

func numbers(field protoreflect.FieldDescriptor, rule *limitsv1.FieldLimits) (within,
	beyond []protoreflect.Value) {
	number := func(n int64) protoreflect.Value {
		if field.Kind() == protoreflect.Int32Kind {
			return protoreflect.ValueOfInt32(int32(n))
		}
		return protoreflect.ValueOfInt64(n)
	}
	if rule.Min != nil {
		beyond = append(beyond, number(-1))
		if *rule.Min > 1 {
			within, beyond = append(within, number(*rule.Min)), append(beyond, number(*rule.Min-1))
		}
	}
	if rule.Max != nil {
		within, beyond = append(within, number(*rule.Max)), append(beyond, number(*rule.Max+1))
	}
	if rule.MultipleOf > 1 {
		beyond = append(beyond, number(rule.GetMax()-1))
	}
	return within, beyond
}

func durations(rule *limitsv1.FieldLimits) (within, beyond []protoreflect.Value) {
	add := func(to *[]protoreflect.Value, d time.Duration) {
		*to = append(*to, protoreflect.ValueOfMessage(durationpb.New(d).ProtoReflect()))
	}
	if least, err := time.ParseDuration(rule.GetMinDuration()); err == nil {
		add(&within, least)
		add(&beyond, least-1)
	}
	if most, err := time.ParseDuration(rule.GetMaxDuration()); err == nil {
		add(&within, most)
		add(&beyond, most+1)
	}
	add(&beyond, -time.Second)
	return within, beyond
}

func TestEveryFormatHasAnExample(t *testing.T) {
	t.Parallel()
	values := limitsv1.Format(0).Descriptor().Values()
	for i := 1; i < values.Len(); i++ {
		if _, ok := examples[limitsv1.Format(values.Get(i).Number())]; !ok {
			t.Errorf("%s has no example", values.Get(i).Name())
		}
	}
}
