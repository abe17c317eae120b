package ec2

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// The calls that the code can make are the methods of api: the policy allows all of them and
// nothing else, and the page shows it.
func TestPolicyAllowsTheCallsThatAreMade(t *testing.T) {
	t.Parallel()
	data, err := Policy(Rights{Fleet: "default", Region: "eu-central-1"})
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
