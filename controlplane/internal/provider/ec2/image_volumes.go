package ec2

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// noDataVolume is the value of tagDataDevice on an AMI none of whose volumes is for data.
const noDataVolume = "none"

// dataVolume is the image's default data volume, the one that jobs delete when the server's own is
// there; nil: it has none. Of two and more volumes beside the root a tag must say which it is: what
// jobs delete is never guessed. ErrInvalid.
func dataVolume(name string, i types.Image) (*types.BlockDeviceMapping, error) {
	var beside []types.BlockDeviceMapping
	var devices []string
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs != nil && aws.ToString(m.DeviceName) != aws.ToString(i.RootDeviceName) {
			beside, devices = append(beside, m), append(devices, aws.ToString(m.DeviceName))
		}
	}
	tagged := fromTags(i.Tags)[tagDataDevice]
	switch {
	case tagged == noDataVolume || tagged == "" && len(beside) == 0:
		return nil, nil //nolint:nilnil // an image need not have one
	case tagged == "" && len(beside) == 1:
		return &beside[0], nil
	case tagged == "":
		return nil, provider.Errorf(provider.ErrInvalid, "", "image %.70q (%s) has the volumes "+
			"%s beside its root: tag the AMI with %s=%s, the one with the datadir, which jobs "+
			"replace and delete, or =%s", name, aws.ToString(i.ImageId),
			strings.Join(devices, ", "),
			tagDataDevice, devices[0], noDataVolume)
	}
	at := slices.IndexFunc(devices, func(d string) bool { return letter(d) == letter(tagged) })
	if at < 0 {
		return nil, provider.Errorf(provider.ErrInvalid, "", "image %.70q (%s) is tagged "+
			"%s=%.40s, and its volumes are %s: correct the tag", name, aws.ToString(i.ImageId),
			tagDataDevice, tagged, strings.Join(devices, ", "))
	}
	return &beside[at], nil
}

// ofMachine are the tags of all volumes that come with a machine, which EC2 tags alike: they say
// which of them is the root and which the default data volume.
func ofMachine(image types.Image, name string, data *types.BlockDeviceMapping) map[string]string {
	tags := map[string]string{tagOfImage: name, tagDataDevice: noDataVolume}
	if root := aws.ToString(image.RootDeviceName); root != "" {
		tags[tagRootDevice] = root
	}
	if data != nil {
		tags[tagDataDevice] = aws.ToString(data.DeviceName)
	}
	return tags
}

// isDefault says that a volume is the one that jobs replace. Machines that were made before their
// volumes were tagged with its name have one volume.
func isDefault(v types.Volume, tags map[string]string) bool {
	_, ofImage := tags[tagOfImage]
	device, tagged := tags[tagDataDevice]
	return ofImage && (!tagged || len(v.Attachments) > 0 &&
		letter(aws.ToString(v.Attachments[0].Device)) == letter(device))
}

// rootDevices are the names that the root device of an AMI usually has, for volumes that do not
// say.
var rootDevices = []string{"/dev/sda1", "/dev/xvda", "/dev/sda"}

// isRoot says that a volume is its instance's root. The instance's root device is known when the
// volumes of one instance are listed; otherwise the volume's tag says it.
func isRoot(v types.Volume, rootDevice string) bool {
	if len(v.Attachments) == 0 {
		return false
	}
	device := aws.ToString(v.Attachments[0].Device)
	if rootDevice == "" {
		rootDevice = fromTags(v.Tags)[tagRootDevice]
	}
	if rootDevice != "" {
		return device == rootDevice
	}
	return slices.Contains(rootDevices, device)
}
