package ec2lab

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// matches says whether a thing passes all filters. values gives the values of the filters that the
// action knows.
func matches(filters []types.Filter, tags map[string]string,
	values map[string][]string) (bool, error) {
	for _, f := range filters {
		name := aws.ToString(f.Name)
		if len(f.Values) == 0 {
			return false, refuse("InvalidParameterValue", "The filter '%s' needs a value", name)
		}
		has, known := values[name]
		if key, isTag := strings.CutPrefix(name, "tag:"); isTag {
			known = true
			if value, there := tags[key]; there {
				has = []string{value}
			}
		} else if name == "tag-key" {
			known = true
			for key := range tags {
				has = append(has, key)
			}
		}
		if !known {
			return false, refuse("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		if !slices.ContainsFunc(has, func(value string) bool {
			return slices.ContainsFunc(f.Values,
				func(pattern string) bool { return glob([]rune(pattern), []rune(value)) })
		}) {
			return false, nil
		}
	}
	return true, nil
}

// glob knows * and ?, and the backslash that takes their meaning.
func glob(pattern, value []rune) bool {
	if len(pattern) == 0 {
		return len(value) == 0
	}
	switch pattern[0] {
	case '*':
		return glob(pattern[1:], value) || len(value) > 0 && glob(pattern, value[1:])
	case '?':
		return len(value) > 0 && glob(pattern[1:], value[1:])
	case '\\':
		if len(pattern) > 1 {
			pattern = pattern[1:]
		}
	}
	return len(value) > 0 && value[0] == pattern[0] && glob(pattern[1:], value[1:])
}

// page cuts a list as describes do: EC2 may give fewer than asked for.
func page[T any](all []T, asked *int32, token *string, most int) ([]T, *string, error) {
	start := 0
	if token != nil {
		n, err := strconv.Atoi(strings.TrimPrefix(*token, "page-"))
		if err != nil || n < 0 || n > len(all) {
			return nil, nil, refuse("InvalidNextToken", "The token is not valid.")
		}
		start = n
	}
	if asked == nil && token == nil {
		return all, nil, nil
	}
	size := int(aws.ToInt32(asked))
	if asked != nil && (size < 5 || size > 1000) {
		return nil, nil, refuse("InvalidParameterValue", "MaxResults must be between 5 and 1000")
	}
	if most > 0 && (size == 0 || most < size) {
		size = most
	}
	if size == 0 || start+size >= len(all) {
		return all[start:], nil, nil
	}
	return all[start : start+size], aws.String("page-" + strconv.Itoa(start+size)), nil
}

func toTags(tags map[string]string) []types.Tag {
	var list []types.Tag
	for key, value := range tags {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	slices.SortFunc(list, func(a, b types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return list
}

// tagsFor are the tags of the specifications of one kind; each kind may be there once.
func tagsFor(specifications []types.TagSpecification, kind types.ResourceType,
	allowed ...types.ResourceType) (map[string]string, error) {
	tags := map[string]string{}
	seen := map[types.ResourceType]bool{}
	for _, spec := range specifications {
		if !slices.Contains(append(allowed, kind), spec.ResourceType) {
			return nil, refuse("InvalidParameterValue",
				"'%s' is not a valid taggable resource type for this operation.", spec.ResourceType)
		}
		if seen[spec.ResourceType] || len(spec.Tags) == 0 {
			return nil, refuse("InvalidParameterValue",
				"Tag specification for %s is empty or there twice", spec.ResourceType)
		}
		seen[spec.ResourceType] = true
		own, err := checkTags(spec.Tags)
		if err != nil {
			return nil, err
		}
		if spec.ResourceType == kind {
			tags = own
		}
	}
	return tags, nil
}

const maxTags = 50

func checkTags(list []types.Tag) (map[string]string, error) {
	tags := map[string]string{}
	for _, t := range list {
		key := aws.ToString(t.Key)
		switch _, twice := tags[key]; {
		case key == "" || len([]rune(key)) > 128 || len([]rune(aws.ToString(t.Value))) > 256:
			return nil, refuse("InvalidParameterValue", "Tag key or value has a wrong length: '%s'",
				key)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return nil, refuse("InvalidParameterValue",
				"Tag keys starting with 'aws:' are reserved for internal use")
		case twice:
			return nil, refuse("InvalidParameterValue", "Duplicate tag key '%s' specified.", key)
		}
		tags[key] = aws.ToString(t.Value)
	}
	if len(tags) > maxTags {
		return nil, refuse("TagLimitExceeded", "The maximum number of tags per resource is %d",
			maxTags)
	}
	return tags, nil
}
