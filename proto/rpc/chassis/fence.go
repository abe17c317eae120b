package chassis

import (
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

const (
	fenceField   = "fence"
	fenceMessage = "understudy.agent.v1.Fence"
)

// A job's name and an effect's key are kept and logged by who acts on them, so they hold nothing
// else.
var (
	jobName = regexp.MustCompile(`^jobs/[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	keyText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,299}$`)
)

// fence says on whose behalf a request comes.
type fence struct {
	job       string
	epoch     int64
	effectKey string
}

// empty is the fence of a person.
func (f fence) empty() bool { return f == fence{} }

// readFence finds a request's fence by its field, so that the chassis does not depend on anybody's
// contract. Half a fence is a mistake of its sender, and no way around it.
func readFence(msg proto.Message) (fence, error) {
	m := msg.ProtoReflect()
	field := m.Descriptor().Fields().ByName(fenceField)
	if field == nil || field.Kind() != protoreflect.MessageKind || field.IsList() ||
		field.Message().FullName() != fenceMessage || !m.Has(field) {
		return fence{}, nil
	}
	sub := m.Get(field).Message()
	get := func(name protoreflect.Name) protoreflect.Value {
		return sub.Get(sub.Descriptor().Fields().ByName(name))
	}
	f := fence{job: get("job").String(), epoch: get("epoch").Int(),
		effectKey: get("effect_key").String()}
	if f.empty() {
		return f, nil
	}
	faults := errs.Fields{}
	faults.Require("fence.job", f.job != "", "is missing while other parts of the fence are there")
	faults.Require("fence.job", f.job == "" || jobName.MatchString(f.job),
		"must be a job's name, jobs/{job}")
	faults.Require("fence.effect_key", f.effectKey == "" || keyText.MatchString(f.effectKey) &&
		!strings.Contains(f.effectKey, ".."),
		"must be letters, digits and any of ._/-")
	faults.Require("fence.epoch", f.epoch > 0, "must be positive")
	return f, faults.Err()
}
