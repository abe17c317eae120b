package ec2

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The calls that the code can make are the methods of api: the policy allows all of them and
// nothing else, and the page shows it.
func TestPolicyAllowsTheCallsThatAreMade(t *testing.T) {
	t.Parallel()
	data, err := Policy("default")
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Statement []struct{ Action []string }
	}
	if err := json.Unmarshal(data, &policy); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, s := range policy.Statement {
		allowed = append(allowed, s.Action...)
	}
	slices.Sort(allowed)
	if allowed = slices.Compact(allowed); !slices.Equal(allowed, Actions()) {
		t.Errorf("allowed are %v, called %v", allowed, Actions())
	}
	page, err := os.ReadFile("../../../../docs/ec2.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```json\n"+string(data)+"\n```") {
		t.Errorf("docs/ec2.md does not show this policy:\n%s", data)
	}
}

// Check tries every call that the policy has.
func TestCheckTriesEveryCall(t *testing.T) {
	t.Parallel()
	var tried []string
	for _, trial := range (&Provider{}).trials() {
		tried = append(tried, trial.action)
	}
	slices.Sort(tried)
	calls := reflect.TypeFor[api]()
	for i := range calls.NumMethod() {
		if name := calls.Method(i).Name; !slices.Contains(tried, name) {
			t.Errorf("%s is not tried", name)
		}
	}
	if len(tried) != calls.NumMethod() {
		t.Errorf("tried are %v", tried)
	}
}

type statement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Action    []string                     `json:"Action"`
	Resource  []string                     `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

// Policy is the IAM policy that a control plane of that fleet needs, as JSON. What exists is
// changed and removed only when it carries the fleet's tag; what is made must carry it; snapshots
// are taken of the fleet's volumes alone.
func Policy(fleet string) ([]byte, error) {
	owned := map[string]map[string]string{"StringEquals": {"aws:ResourceTag/" + tagFleet: fleet}}
	tagged := map[string]map[string]string{"StringEquals": {"aws:RequestTag/" + tagFleet: fleet}}
	return json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": []statement{
		{"Look", "Allow", lookActions(), []string{"*"}, nil},
		{"ChangeOwn", "Allow", ownActions(), resources("instance", "volume", "snapshot"), owned},
		{"MakeTagged", "Allow", prefixed("RunInstances", "CreateVolume", "CreateSnapshot"),
			resources("instance", "volume", "snapshot"), tagged},
		{"RunFrom", "Allow", prefixed("RunInstances"),
			append(resources("subnet", "security-group", "network-interface"),
				"arn:aws:ec2:*::image/*", "arn:aws:ec2:*::snapshot/*",
				"arn:aws:ec2:*:*:snapshot/*"), nil},
		{"CopyOwn", "Allow", prefixed("CreateSnapshot", "CreateVolume"),
			resources("volume", "snapshot"), owned},
		{"TagWhatIsMade", "Allow", prefixed("CreateTags"),
			resources("instance", "volume", "snapshot"),
			map[string]map[string]string{"StringLike": {"ec2:CreateAction": "*"}}},
	}}, "", "  ")
}

// Actions are the calls that the provider makes, as IAM names them.
func Actions() []string {
	var actions []string
	calls := reflect.TypeFor[api]()
	for i := range calls.NumMethod() {
		actions = append(actions, "ec2:"+calls.Method(i).Name)
	}
	return actions
}

func lookActions() []string {
	return slices.DeleteFunc(Actions(),
		func(a string) bool { return !strings.HasPrefix(a, "ec2:Describe") })
}

func ownActions() []string {
	making := prefixed("RunInstances", "CreateVolume", "CreateSnapshot")
	return slices.DeleteFunc(Actions(),
		func(a string) bool {
			return strings.HasPrefix(a, "ec2:Describe") ||
				slices.Contains(making, a)
		})
}

func prefixed(names ...string) []string {
	var actions []string
	for _, name := range names {
		actions = append(actions, "ec2:"+name)
	}
	return actions
}

func resources(kinds ...string) []string {
	var arns []string
	for _, kind := range kinds {
		account := "*"
		if kind == "snapshot" {
			account = "" // snapshots have none in their names
		}
		arns = append(arns, "arn:aws:ec2:*:"+account+":"+kind+"/*")
	}
	return arns
}
