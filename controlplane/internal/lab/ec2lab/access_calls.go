package ec2lab

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// asks are the questions that a call puts to the policy. Those that describe know no objects.
func (s *Server) asks(ctx context.Context, action string, in any) ([]ask, error) {
	switch in := in.(type) {
	case *ec2.RunInstancesInput:
		return s.asksOfRun(ctx, in)
	case *ec2.CreateVolumeInput:
		tags, err := tagsFor(in.TagSpecifications, types.ResourceTypeVolume)
		if err != nil {
			return nil, err
		}
		asks := s.fresh(action, "vol", tags)
		if in.SnapshotId == nil {
			return asks, nil
		}
		// https://aws.amazon.com/blogs/storage/enhancing-resource-level-permission-for-creating-
		// an-amazon-ebs-volume-from-a-snapshot
		return s.andObjects(ctx, action, asks, *in.SnapshotId)
	case *ec2.CreateSnapshotInput:
		tags, err := tagsFor(in.TagSpecifications, types.ResourceTypeSnapshot)
		if err != nil {
			return nil, err
		}
		return s.andObjects(ctx, action, s.fresh(action, "snap", tags), aws.ToString(in.VolumeId))
	case *ec2.CreateTagsInput:
		var asks []ask
		for _, id := range in.Resources {
			a, err := s.object(ctx, action, id, tagMap(in.Tags))
			if err != nil {
				return nil, err
			}
			asks = append(asks, a)
		}
		return asks, nil
	}
	ids := objectsOf(in)
	if len(ids) == 0 {
		return []ask{{"ec2:" + action, "*", nil}}, nil
	}
	return s.andObjects(ctx, action, nil, ids...)
}

// objectsOf are the objects that a call changes; none of one that describes.
func objectsOf(in any) []string {
	switch in := in.(type) {
	case *ec2.AttachVolumeInput:
		return []string{aws.ToString(in.VolumeId), aws.ToString(in.InstanceId)}
	case *ec2.DetachVolumeInput:
		return []string{aws.ToString(in.VolumeId), aws.ToString(in.InstanceId)}
	case *ec2.DeleteVolumeInput:
		return []string{aws.ToString(in.VolumeId)}
	case *ec2.ModifyVolumeInput:
		return []string{aws.ToString(in.VolumeId)}
	case *ec2.DeleteSnapshotInput:
		return []string{aws.ToString(in.SnapshotId)}
	case *ec2.ModifyInstanceMetadataOptionsInput:
		return []string{aws.ToString(in.InstanceId)}
	case *ec2.StartInstancesInput:
		return in.InstanceIds
	case *ec2.StopInstancesInput:
		return in.InstanceIds
	case *ec2.RebootInstancesInput:
		return in.InstanceIds
	case *ec2.TerminateInstancesInput:
		return in.InstanceIds
	}
	return nil
}

func (s *Server) andObjects(ctx context.Context, action string, asks []ask,
	ids ...string) ([]ask, error) {
	for _, id := range ids {
		a, err := s.object(ctx, action, id, nil)
		if err != nil {
			return nil, err
		}
		asks = append(asks, a)
	}
	return asks, nil
}

// asksOfRun are those of a launch: the image, the network, and what is made. EC2 looks at the image
// and the subnet first.
func (s *Server) asksOfRun(ctx context.Context, in *ec2.RunInstancesInput) ([]ask, error) {
	if _, err := s.checkRun(ctx, in); err != nil {
		return nil, err
	}
	zone, err := s.zoneOf(in)
	if err != nil {
		return nil, err
	}
	instance, err := tagsFor(in.TagSpecifications, types.ResourceTypeInstance,
		types.ResourceTypeVolume)
	if err != nil {
		return nil, err
	}
	volume, err := tagsFor(in.TagSpecifications, types.ResourceTypeVolume,
		types.ResourceTypeInstance)
	if err != nil {
		return nil, err
	}
	action := "RunInstances"
	asks := append(s.fresh(action, "i", instance), s.fresh(action, "vol", volume)...)
	asks = append(asks, s.fresh(action, "eni", nil)...)
	if in.IamInstanceProfile != nil {
		asks = append(asks, s.passes(aws.ToString(in.IamInstanceProfile.Name)))
	}
	used := []string{*in.ImageId, Subnet(zone)}
	if used = append(used, in.SecurityGroupIds...); len(in.SecurityGroupIds) == 0 {
		used = append(used, madeUpID("sg", "default"))
	}
	return s.andObjects(ctx, action, asks, used...)
}

// passes asks whether the caller may give an instance the role of an instance profile: the lab's
// profiles have a role of their own name.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
func (s *Server) passes(profile string) ask {
	service := "ec2.amazonaws.com"
	if s.partition() == "aws-cn" {
		service += ".cn"
	}
	return ask{"iam:PassRole", "arn:" + s.partition() + ":iam::" + accountID + ":role/" + profile,
		map[string]string{"iam:PassedToService": service}}
}

// knownTags are the tags that conditions know of an object: none of what is gone or too new, nor of
// an instance that has ended, if that is how access goes.
func (s *Server) knownTags(ctx context.Context, kind, id string) (map[string]string, error) {
	access := s.currentBehaviour().Access
	lab, err := labID(kind, id)
	if err != nil {
		return s.tagsBesideLab(ctx, kind, id)
	}
	var none, tags map[string]string
	made := s.cfg.Now()
	switch kind {
	case "i":
		var m provider.Machine
		m, err = s.cfg.Lab.GetMachine(ctx, lab)
		if tags, made = m.Tags, m.CreatedAt; access.EndedUntagged &&
			m.State == provider.MachineTerminated {
			tags = nil
		}
	case "vol":
		var v provider.Volume
		v, err = s.cfg.Lab.GetVolume(ctx, lab)
		tags, made = v.Tags, v.CreatedAt
	case "snap":
		var shot provider.Snapshot
		shot, err = s.cfg.Lab.GetSnapshot(ctx, lab)
		tags, made = shot.Tags, shot.CreatedAt
	}
	switch {
	case errors.Is(err, provider.ErrNotFound):
		return none, nil
	case err != nil:
		return nil, err
	case s.hidden(made) || s.cfg.Now().Sub(made) < access.TagsLate:
		return none, nil
	}
	return tags, nil
}

// tagsBesideLab are those of what the lab only shows: images and root volumes.
func (s *Server) tagsBesideLab(ctx context.Context, kind, id string) (map[string]string, error) {
	var none map[string]string
	if kind == "ami" {
		images, err := s.images(ctx)
		for _, i := range images {
			if *i.ImageId == id {
				return tagMap(i.Tags), err
			}
		}
		return none, err
	}
	if isRootVolume(id) {
		all, err := s.allVolumes(ctx)
		for _, v := range all {
			if *v.VolumeId == id {
				return tagMap(v.Tags), err
			}
		}
		return none, err
	}
	return none, nil
}
