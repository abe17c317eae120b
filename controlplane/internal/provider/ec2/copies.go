package ec2

import (
	"cmp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const (
	// tagSource is on a volume: the snapshot that it was made from, or noSource.
	tagSource = "understudy:source"
	noSource  = "none"
	// tagVolume is on a snapshot: the volume that it is of.
	tagVolume = "understudy:volume"
	// tagToken is the client token on an instance and on the volumes that came with it; that of the
	// launch is made from it.
	tagToken = "understudy:token"
)

// volumeCopied says that somebody else made a volume and gave it the tags of ours, as a restore
// from a backup may: it was made from something else than ours was. Volumes that were made before
// they had the tag are ours.
func volumeCopied(v types.Volume) bool {
	source, tagged := fromTags(v.Tags)[tagSource]
	return tagged && source != cmp.Or(aws.ToString(v.SnapshotId), noSource)
}

// instanceCopied says that somebody else launched an instance and gave it the tags of ours.
func instanceCopied(i types.Instance) bool {
	token, tagged := fromTags(i.Tags)[tagToken]
	launched, zone := aws.ToString(i.ClientToken), ""
	if i.Placement != nil {
		zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	return tagged && launched != token && launched != tokenFor(token, zone)
}

// cameWith says that a volume of an image came with that instance, as far as they are tagged with
// that.
func cameWith(v types.Volume, i types.Instance) bool {
	with, tagged := fromTags(v.Tags)[tagToken]
	token, known := fromTags(i.Tags)[tagToken]
	return !tagged || !known || with == token
}

// snapshotCopied says that somebody else made a snapshot: one of a volume of ours, whose tags
// backups take over, or a copy of a snapshot of ours, which EC2 calls one of another volume.
// https://docs.aws.amazon.com/aws-backup/latest/devguide/tags-on-backups.html
func snapshotCopied(s types.Snapshot) bool {
	tags := fromTags(s.Tags)
	_, ofVolume := tags[tagSource]
	_, ofImage := tags[tagOfImage]
	volume, tagged := tags[tagVolume]
	return ofVolume || ofImage || tagged && volume != aws.ToString(s.VolumeId)
}
