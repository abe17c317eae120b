package ec2lab

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Keys is what becomes of volumes that are encrypted. A copy of an encrypted snapshot is encrypted
// too, whatever is asked for; snapshots are as their volumes.
// https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html
type Keys struct {
	// ByDefault encrypts all volumes, as an account does that is set so.
	ByDefault bool
	// Useless is a key that EC2 cannot use for the caller. It finds that out after CreateVolume has
	// answered: the volume is "creating", and then was never there. There is no state error, and no
	// error in CloudTrail; the client token says "already deleted".
	// https://github.com/kubernetes-sigs/aws-ebs-csi-driver/issues/3010,
	// https://github.com/crossplane-contrib/provider-aws/issues/1858
	Useless bool
}

// encryption is whether a volume is encrypted, and by which key if that was named.
func (s *Server) encryption(in *ec2.CreateVolumeInput, from provider.Snapshot) (bool, string) {
	source := &volumeState{}
	if from.VolumeID != "" {
		source = s.state.volume(ec2ID(from.VolumeID))
	}
	key := source.KMSKey
	if in.KmsKeyId != nil {
		key = *in.KmsKeyId
	}
	return aws.ToBool(in.Encrypted) || source.Encrypted ||
		s.currentBehaviour().Keys.ByDefault, key
}

// encryptImage notes which of an instance's own volumes are encrypted.
func (s *Server) encryptImage(device string, in *ec2.RunInstancesInput) bool {
	for _, m := range in.BlockDeviceMappings {
		if aws.ToString(m.DeviceName) == device && m.Ebs != nil && aws.ToBool(m.Ebs.Encrypted) {
			return true
		}
	}
	return s.currentBehaviour().Keys.ByDefault
}

// letVanish deletes a volume whose key cannot be used, behind the back of whoever made it.
func (s *Server) letVanish(ctx context.Context, v provider.Volume,
	out *ec2.CreateVolumeOutput) error {
	if !s.currentBehaviour().Keys.Useless || !aws.ToBool(out.Encrypted) {
		return nil
	}
	out.State = types.VolumeStateCreating
	return s.cfg.Lab.DeleteVolume(ctx, v.ID)
}

// volumeOf is the volume that a client token made before.
func (s *Server) volumeOf(ctx context.Context, id string) (*ec2.CreateVolumeOutput, error) {
	lab, _ := labID("vol", id) // it is one of the lab's
	v, err := s.cfg.Lab.GetVolume(ctx, lab)
	if errors.Is(err, provider.ErrNotFound) || v.State == provider.VolumeDeleted {
		return nil, refuse("IdempotentParameterMismatch", "The client token you have provided is "+
			"associated with a resource that is already deleted. Please use a different client "+
			"token.")
	}
	return s.madeVolume(ctx, id)
}

// Encrypted are the volumes that are encrypted, by their IDs, and the key where one was named, for
// tests.
func (s *Server) Encrypted() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := map[string]string{}
	for id, v := range s.state.Volumes {
		if v.Encrypted {
			keys[id] = v.KMSKey
		}
	}
	for id, i := range s.state.Instances {
		if i.Encrypted {
			keys[rootVolume(id)] = ""
		}
	}
	return keys
}
