package ec2

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

type statement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Action    []string                     `json:"Action"`
	Resource  []string                     `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

// Policy is the IAM policy that a control plane of that fleet needs in that region, as JSON. What
// exists is changed and removed only when it carries the fleet's tag; what is made must carry it;
// snapshots are taken of the fleet's volumes alone.
func Policy(fleet, region string) ([]byte, error) {
	owned := map[string]map[string]string{"StringEquals": {"aws:ResourceTag/" + tagFleet: fleet}}
	tagged := map[string]map[string]string{"StringEquals": {"aws:RequestTag/" + tagFleet: fleet}}
	objects := resources(region, "instance", "volume", "snapshot")
	return json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": []statement{
		{"Look", "Allow", lookActions(), []string{"*"}, nil},
		{"ChangeOwn", "Allow", ownActions(), objects, owned},
		{"MakeTagged", "Allow", prefixed(makers...), objects, tagged},
		{"RunFrom", "Allow", prefixed("RunInstances"), append(resources(region, "subnet",
			"security-group", "network-interface", "image", "snapshot"),
			"arn:"+partition(region)+":ec2:*:*:snapshot/*"), nil},
		{"CopyOwn", "Allow", prefixed("CreateSnapshot", "CreateVolume"),
			resources(region, "volume", "snapshot"), owned},
		{"TagWhatIsMade", "Allow", prefixed("CreateTags"), objects,
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

// makers are the calls that make something.
var makers = []string{"RunInstances", "CreateVolume", "CreateSnapshot"}

func lookActions() []string {
	return slices.DeleteFunc(Actions(),
		func(a string) bool { return !strings.HasPrefix(a, "ec2:Describe") })
}

func ownActions() []string {
	return slices.DeleteFunc(Actions(), func(a string) bool {
		return strings.HasPrefix(a, "ec2:Describe") || slices.Contains(prefixed(makers...), a)
	})
}

func prefixed(names ...string) []string {
	var actions []string
	for _, name := range names {
		actions = append(actions, "ec2:"+name)
	}
	return actions
}

// resources are all objects of these kinds. Images and snapshots have no account in their names.
func resources(region string, kinds ...string) []string {
	var arns []string
	for _, kind := range kinds {
		account := "*"
		if kind == "image" || kind == "snapshot" {
			account = ""
		}
		arns = append(arns, "arn:"+partition(region)+":ec2:*:"+account+":"+kind+"/*")
	}
	return arns
}

// partitions are those beside aws, by how their regions' names begin.
// https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
var partitions = []struct{ prefix, name string }{{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"},
	{"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"}, {"us-isof-", "aws-iso-f"},
	{"eu-isoe-", "aws-iso-e"}, {"eusc-", "aws-eusc"}}

// partition is what ARNs of a region begin with.
func partition(region string) string {
	for _, p := range partitions {
		if strings.HasPrefix(region, p.prefix) {
			return p.name
		}
	}
	return "aws"
}
