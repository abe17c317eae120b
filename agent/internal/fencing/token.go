package fencing

import (
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// A job's name and an effect's key are kept and logged, so nothing else may be in them.
var (
	jobName = regexp.MustCompile(`^jobs/[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
	keyText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,299}$`)
)

// token is a request's fencing token; an operator's request has an empty one.
type token struct {
	job       string
	epoch     int64
	effectKey string
}

func (t token) empty() bool { return t == token{} }

// tokenOf is the valid token of a request. A partial token is rejected.
func tokenOf(request proto.Message) (token, error) {
	fenced, ok := request.(interface{ GetFencingToken() *agentv1.FencingToken })
	if !ok {
		return token{}, nil
	}
	sent := fenced.GetFencingToken()
	t := token{sent.GetJob(), sent.GetEpoch(), sent.GetEffectKey()}
	if t.empty() {
		return t, nil
	}
	faults := errs.Fields{}
	faults.Require("fencing_token.job", t.job != "",
		"is missing while other parts of the token are there")
	faults.Require("fencing_token.job", t.job == "" || jobName.MatchString(t.job),
		"must be a job's name, jobs/{job}")
	faults.Require("fencing_token.effect_key", t.effectKey == "" ||
		keyText.MatchString(t.effectKey) && !strings.Contains(t.effectKey, ".."),
		"must be letters, digits and any of ._/-")
	faults.Require("fencing_token.epoch", t.epoch > 0, "must be positive")
	return t, faults.Err()
}
