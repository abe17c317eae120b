package ec2

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

type statement struct {
	Sid       string     `json:"Sid"`
	Effect    string     `json:"Effect"`
	Action    []string   `json:"Action"`
	Resource  []string   `json:"Resource"`
	Condition conditions `json:"Condition,omitempty"`
}

// conditions are what must hold, by operator and key.
type conditions map[string]map[string]string

// Rights are what a policy is for.
type Rights struct {
	// Fleet is that of the control plane, Region one of the partition.
	Fleet, Region string
	// Keys are the ARNs of the customer managed keys by which volumes are encrypted; empty: none.
	Keys []string
	// Role is the ARN of the role in the machines' instance profile; empty: they have none.
	Role string
}

var (
	keyARN  = regexp.MustCompile(`^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)
	roleARN = regexp.MustCompile(`^arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$`)
)

func (r Rights) validate() error {
	for _, key := range r.Keys {
		if !keyARN.MatchString(key) {
			return provider.Errorf(provider.ErrInvalid, "", "%.80q is not the ARN of a key: IAM "+
				"knows keys by no alias (aws kms describe-key --key-id KEY shows it)", key)
		}
	}
	if r.Role != "" && !roleARN.MatchString(r.Role) {
		return provider.Errorf(provider.ErrInvalid, "", "%.80q is not the ARN of a role (aws iam "+
			"get-instance-profile shows that of a profile)", r.Role)
	}
	return nil
}

// Policy is the IAM policy that a control plane needs, as JSON. What exists is changed and removed
// only when it carries the fleet's tag; what is made must carry it; snapshots are taken of the
// fleet's volumes alone. Keys are used by EC2 alone, and a role is given to machines alone.
// ErrInvalid.
func Policy(r Rights) ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	owned := conditions{"StringEquals": {"aws:ResourceTag/" + tagFleet: r.Fleet}}
	tagged := conditions{"StringEquals": {"aws:RequestTag/" + tagFleet: r.Fleet}}
	objects := resources(r.Region, "instance", "volume", "snapshot")
	statements := []statement{
		{"Look", "Allow", lookActions(), []string{"*"}, nil},
		{"ChangeOwn", "Allow", ownActions(), objects, owned},
		{"MakeTagged", "Allow", prefixed(makers...), objects, tagged},
		{"RunFrom", "Allow", prefixed("RunInstances"), append(resources(r.Region, "subnet",
			"security-group", "network-interface", "image", "snapshot"),
			"arn:"+partition(r.Region)+":ec2:*:*:snapshot/*"), nil},
		{"CopyOwn", "Allow", prefixed("CreateSnapshot", "CreateVolume"),
			resources(r.Region, "volume", "snapshot"), owned},
		{"TagWhatIsMade", "Allow", prefixed("CreateTags"), objects,
			conditions{"StringLike": {"ec2:CreateAction": "*"}}},
	}
	if len(r.Keys) > 0 {
		byEC2 := map[string]string{"kms:ViaService": "ec2.*"}
		statements = append(statements,
			statement{"UseKey", "Allow", keyActions, r.Keys, conditions{"StringLike": byEC2}},
			statement{"GrantKey", "Allow", []string{grantAction}, r.Keys,
				conditions{"Bool": {"kms:GrantIsForAWSResource": "true"}, "StringLike": byEC2}})
	}
	if r.Role != "" {
		service := "ec2.amazonaws.com"
		if partition(r.Region) == "aws-cn" {
			service += ".cn"
		}
		statements = append(statements, statement{"PassProfile", "Allow",
			[]string{"iam:PassRole"}, []string{r.Role},
			conditions{"StringEquals": {"iam:PassedToService": service}}})
	}
	return json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": statements}, "",
		"  ")
}

// What EC2 does with the key of a volume on the control plane's behalf.
// https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html
var keyActions = []string{"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext",
	"kms:ReEncryptFrom", "kms:ReEncryptTo"}

const grantAction = "kms:CreateGrant"

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
