package ec2lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Access is what the credentials may do.
type Access struct {
	// Policy is their IAM policy, as JSON; empty: everything is allowed. A call must be allowed on
	// every object that it uses, changes or makes; tags that it gives away need ec2:CreateTags too.
	// What is not allowed is refused with UnauthorizedOperation, before EC2 looks whether the
	// objects are there: conditions on the tags of what is gone never hold.
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
	// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
	// https://github.com/aws/karpenter-provider-aws/issues/2253
	Policy string
	// Partition is how ARNs name the region's: aws, aws-cn or aws-us-gov; default aws.
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
	Partition string
	// TagsLate is how long conditions do not know the tags of something new.
	// https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
	TagsLate time.Duration
	// EndedUntagged takes its tags from an instance that is terminated.
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html
	EndedUntagged bool
}

// document is a policy, as far as the lab reads it.
type document struct {
	Version   string
	Statement []struct {
		Sid              string
		Effect           string
		Action, Resource words
		Condition        map[string]map[string]words
	}
}

// words is a list in JSON, or its one element.
type words []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *words) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}

// ask is one question to a policy: may this be done to that object?
type ask struct {
	action, arn string
	keys        map[string]string // what conditions may ask for
}

// authorized refuses a call that the credentials do not allow.
func (s *Server) authorized(ctx context.Context, action string, in any) error {
	switch {
	case s.admin:
		return nil
	case slices.Contains(s.currentBehaviour().Denied, action):
		return refuse("UnauthorizedOperation", "You are not authorized to perform this "+
			"operation. User: lab is not authorized to perform: ec2:%s", action)
	case s.currentBehaviour().Access.Policy == "":
		return nil
	}
	asks, err := s.asks(ctx, action, in)
	if err != nil {
		return err
	}
	denied, err := s.denied(asks)
	if err != nil || denied == nil {
		return err
	}
	return refuse("UnauthorizedOperation", "You are not authorized to perform this operation. "+
		"User: arn:%s:iam::%s:user/lab is not authorized to perform: %s on resource: %s because "+
		"no identity-based policy allows the %s action", s.partition(), accountID, denied.action,
		denied.arn, denied.action)
}

// denied is the first of the questions to which the caller's policy says no; nil: none.
func (s *Server) denied(asks []ask) (*ask, error) {
	text := s.currentBehaviour().Access.Policy
	if s.admin || text == "" {
		return nil, nil //nolint:nilnil // all is allowed
	}
	var policy document
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&policy); err != nil {
		return nil, fmt.Errorf("cannot read the policy: %w", err)
	}
	for _, a := range asks {
		if allowed, err := policy.allows(a); err != nil || !allowed {
			return &a, err
		}
	}
	return nil, nil //nolint:nilnil // all is allowed
}

// allows says whether a statement allows what is asked, and none denies it.
func (d document) allows(a ask) (bool, error) {
	allowed := false
	for _, s := range d.Statement {
		if !like(s.Action, strings.ToLower(a.action), strings.ToLower) ||
			!like(s.Resource, a.arn, nil) {
			continue
		}
		holds, err := hold(s.Condition, a.keys)
		switch {
		case err != nil:
			return false, err
		case holds && s.Effect == "Deny":
			return false, nil
		case holds && s.Effect == "Allow":
			allowed = true
		}
	}
	return allowed, nil
}

// like says whether one of the patterns fits, each changed first if there is something to change
// it.
func like(patterns words, value string, change func(string) string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if change != nil {
			p = change(p)
		}
		return glob([]rune(p), []rune(value))
	})
}

// hold says whether all conditions hold. A key that the call has not makes each of these operators
// false.
func hold(conditions map[string]map[string]words, keys map[string]string) (bool, error) {
	for operator, wanted := range conditions {
		exactly := operator == "StringEquals" || operator == "Bool"
		if !exactly && operator != "StringLike" {
			return false, fmt.Errorf("the lab does not know the condition operator %q", operator)
		}
		for key, values := range wanted {
			value, known := keys[key]
			if !known || exactly && !slices.Contains(values, value) ||
				!exactly && !like(values, value, nil) {
				return false, nil
			}
		}
	}
	return true, nil
}

// object asks about something that is there, or should be.
func (s *Server) object(ctx context.Context, action, id string,
	requested map[string]string) (ask, error) {
	kind, _, _ := strings.Cut(id, "-")
	if kind != "ami" && kind != "subnet" && kind != "sg" {
		if _, err := labID(kind, id); err != nil && !idPattern.MatchString(id) {
			return ask{}, err
		}
	}
	tags, err := s.knownTags(ctx, kind, id)
	if err != nil {
		return ask{}, err
	}
	keys := prefixedKeys("aws:ResourceTag/", tags)
	maps.Copy(keys, prefixedKeys("ec2:ResourceTag/", tags))
	maps.Copy(keys, prefixedKeys("aws:RequestTag/", requested))
	return ask{"ec2:" + action, s.arn(kind, id), keys}, nil
}

// fresh asks about something that the call makes, and about the tags that it gets.
func (s *Server) fresh(action, kind string, tags map[string]string) []ask {
	keys := prefixedKeys("aws:RequestTag/", tags)
	asks := []ask{{"ec2:" + action, s.arn(kind, "*"), keys}}
	if len(tags) > 0 {
		tagging := maps.Clone(keys)
		tagging["ec2:CreateAction"] = action
		asks = append(asks, ask{"ec2:CreateTags", s.arn(kind, "*"), tagging})
	}
	return asks
}

func prefixedKeys(prefix string, tags map[string]string) map[string]string {
	keys := map[string]string{}
	for key, value := range tags {
		keys[prefix+key] = value
	}
	return keys
}

var arnKinds = map[string]string{"i": "instance", "vol": "volume", "snap": "snapshot",
	"ami": "image", "subnet": "subnet", "sg": "security-group", "eni": "network-interface"}

// arn names an object; images and snapshots have no account in theirs.
func (s *Server) arn(kind, id string) string {
	account := accountID
	if kind == "ami" || kind == "snap" {
		account = ""
	}
	return fmt.Sprintf("arn:%s:ec2:%s:%s:%s/%s", s.partition(), Region, account, arnKinds[kind], id)
}

func (s *Server) partition() string {
	if p := s.currentBehaviour().Access.Partition; p != "" {
		return p
	}
	return "aws"
}
