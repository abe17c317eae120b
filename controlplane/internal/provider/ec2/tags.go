package ec2

import (
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// The provider's own tags, beside the caller's.
const (
	// tagFleet is on all that a fleet makes, and narrows lists to it.
	tagFleet = "understudy:fleet"
	// tagHost is the host name of an instance.
	tagHost = "understudy:host"
	// tagImage is the name of an image, on the image and on the instances made from it.
	tagImage = "understudy:image"
	// tagRequest tells the parameters of two requests with one client token apart.
	tagRequest = "understudy:request"
	// tagOfImage marks the volumes that came with an instance.
	tagOfImage = "understudy:of-image"
	// tagRootDevice is the device name of a machine's root volume, on all that came with it.
	tagRootDevice = "understudy:root-device"
	// tagDataDevice is the device name of the volume that jobs replace, on an image with several
	// and on the volumes that came with a machine.
	tagDataDevice = "understudy:data-device"
	// tagFilesystem, tagMariaDB and tagMasked say on an image what is in it.
	tagFilesystem = "understudy:filesystem"
	tagMariaDB    = "understudy:mariadb"
	tagMasked     = "understudy:masked"
)

var ownTags = []string{tagHost, tagImage, tagRequest, tagOfImage, tagRootDevice,
	tagDataDevice, tagSource, tagVolume, tagToken}

func toTags(tags map[string]string) []types.Tag {
	var list []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}

func fromTags(list []types.Tag) map[string]string {
	tags := map[string]string{}
	for _, t := range list {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags
}

// callers are the tags without the provider's own.
func callers(tags map[string]string) map[string]string {
	left := maps.Clone(tags)
	maps.DeleteFunc(left, func(key, _ string) bool { return slices.Contains(ownTags, key) })
	return left
}

func with(tags map[string]string, more map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, more)
	maps.Copy(all, tags) // the caller's come first
	return all
}

// tagged are the tags of what is made: with the fleet's, by which it is found again, and which the
// policy asks for.
func (a *account) tagged(tags map[string]string) map[string]string {
	if a.cfg.Fleet == "" {
		return tags
	}
	return with(tags, map[string]string{tagFleet: a.cfg.Fleet})
}

func specification(kind types.ResourceType, tags map[string]string) []types.TagSpecification {
	if len(tags) == 0 {
		return nil
	}
	return []types.TagSpecification{{ResourceType: kind, Tags: toTags(tags)}}
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

// filters are EC2's words for a filter and for the provider's fleet.
func (a *account) filters(f provider.Filter) []types.Filter {
	var list []types.Filter
	tags := a.tagged(f.Tags)
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, filter("tag:"+key, escape(tags[key])))
	}
	return list
}

// escape takes their meaning from the signs that filters of EC2 read as patterns.
func escape(value string) string {
	var b []rune
	for _, r := range value {
		if r == '*' || r == '?' || r == '\\' {
			b = append(b, '\\')
		}
		b = append(b, r)
	}
	return string(b)
}
