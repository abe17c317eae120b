package ec2lab

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

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
	// Account is the customer managed key, by its ARN, that the account encrypts with where no
	// other is named; empty: AWS's own, which everybody may use.
	Account string
	// Useless is a key that EC2 cannot use for the caller. It finds that out after CreateVolume has
	// answered: the volume is "creating", and then was never there. There is no state error, and no
	// error in CloudTrail; the client token says "already deleted".
	// https://github.com/kubernetes-sigs/aws-ebs-csi-driver/issues/3010,
	// https://github.com/crossplane-contrib/provider-aws/issues/1858
	Useless bool
}

// What EC2 calls KMS for on the caller's behalf, which so has to be allowed to the caller. No dry
// run asks for it: EC2 does when it uses the key.
// https://docs.aws.amazon.com/ebs/latest/userguide/how-ebs-encryption-works.html; that a blank
// volume needs no more than these two was tried in
// https://github.com/kubernetes/kubernetes/issues/62171, what a copy of an encrypted snapshot needs
// in https://github.com/openshift/managed-cluster-config/pull/2813.
var (
	kmsBlank  = []string{"Decrypt", "GenerateDataKeyWithoutPlaintext"}
	kmsCopy   = append(slices.Clone(kmsBlank), "CreateGrant")
	kmsAgain  = append(slices.Clone(kmsBlank), "DescribeKey", "ReEncryptFrom", "ReEncryptTo")
	kmsAttach = []string{"CreateGrant", "Decrypt"}
)

// mayUse says whether EC2 can do that with a customer managed key for the caller. Names that are no
// ARN are of keys without a policy.
func (s *Server) mayUse(key string, actions []string) (bool, error) {
	if !strings.HasPrefix(key, "arn:") {
		return true, nil
	}
	var asks []ask
	for _, action := range actions {
		asks = append(asks, ask{"kms:" + action, key, map[string]string{
			"kms:GrantIsForAWSResource": "true",
			"kms:ViaService":            "ec2." + Region + ".amazonaws.com"}})
	}
	denied, err := s.denied(asks)
	return denied == nil, err
}

// encryption is whether a volume is encrypted, by which key, and what EC2 does with that.
func (s *Server) encryption(in *ec2.CreateVolumeInput,
	from provider.Snapshot) (encrypted bool, key string, uses []string) {
	keys, source := s.currentBehaviour().Keys, &volumeState{}
	if from.VolumeID != "" {
		source = s.state.volume(ec2ID(from.VolumeID))
	}
	encrypted = aws.ToBool(in.Encrypted) || source.Encrypted || keys.ByDefault
	if key = cmp.Or(aws.ToString(in.KmsKeyId), source.KMSKey); key == "" && encrypted {
		key = keys.Account
	}
	switch {
	case source.Encrypted:
		return encrypted, key, kmsAgain
	case from.VolumeID != "":
		return encrypted, key, kmsCopy
	}
	return encrypted, key, kmsBlank
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

// imageKey is the key of an instance's own volumes, which the caller names for all of them alike.
func (s *Server) imageKey(in *ec2.RunInstancesInput) string {
	for _, m := range in.BlockDeviceMappings {
		if m.Ebs != nil && aws.ToString(m.Ebs.KmsKeyId) != "" {
			return *m.Ebs.KmsKeyId
		}
	}
	if s.encryptImage(s.rootDevice(), in) {
		return s.currentBehaviour().Keys.Account
	}
	return ""
}

// letVanish deletes a volume whose key cannot be used, behind the back of whoever made it.
func (s *Server) letVanish(ctx context.Context, v provider.Volume, out *ec2.CreateVolumeOutput,
	uses []string) error {
	if !aws.ToBool(out.Encrypted) {
		return nil
	}
	usable, err := s.mayUse(aws.ToString(out.KmsKeyId), uses)
	if err != nil || usable && !s.currentBehaviour().Keys.Useless {
		return err
	}
	out.State = types.VolumeStateCreating
	return s.cfg.Lab.DeleteVolume(ctx, v.ID)
}

// opens refuses to attach a volume whose key cannot be used.
// https://github.com/kubernetes/kubernetes/issues/62171, kube-aws issue 393
func (s *Server) opens(id string) error {
	usable, err := s.mayUse(s.state.volume(id).KMSKey, kmsAttach)
	if err != nil || usable {
		return err
	}
	return refuse("CustomerKeyHasBeenRevoked", "Volume %s cannot be attached. The encrypted "+
		"volume was unable to access the KMS master key.", id)
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
