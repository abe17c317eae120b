package ec2

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// tokenMismatch is the code of a client token that was used with other parameters, and of one whose
// volume is deleted.
const tokenMismatch = "IdempotentParameterMismatch"

// encryption is what is asked for of each volume that is made.
func (c Config) encryption() (encrypted *bool, key *string) {
	if !c.Encrypt {
		return nil, nil
	}
	if c.KMSKey != "" {
		key = aws.String(c.KMSKey)
	}
	return aws.Bool(true), key
}

// gaveUp says why a token that EC2 knows makes no volume. EC2 finds out after its answer that it
// cannot use the key of a volume, and deletes that without a word. A volume that is shown has other
// parameters.
func gaveUp(ctx context.Context, p *Provider, req provider.CreateVolumeRequest,
	mismatch error) error {
	if strings.Contains(mismatch.Error(), "already deleted") {
		return ended("volume", req.ClientToken, mismatch)
	}
	if len(req.Tags) == 0 {
		return mismatch
	}
	made, err := p.ListVolumes(ctx, provider.Filter{Tags: req.Tags})
	if err != nil {
		return err
	}
	if len(made) > 0 {
		return mismatch
	}
	return p.new.spent("volume", req.ClientToken, mismatch)
}

// spent is about a client token that EC2 knows while it shows nothing that it made: it may
// not show it yet, or that has ended.
func (r *recent) spent(what, token string, mismatch error) error {
	if r.mayShow(token) {
		return provider.Throttled(mismatch, lastPause, "EC2 knows the client token %s and does "+
			"not show its %s yet", token, what)
	}
	return ended(what, token, mismatch)
}

func ended(what, token string, cause error) error {
	why := "it was terminated"
	if what == "volume" {
		why = "it was deleted, or its key cannot be used: see that the key is enabled, and allow " +
			strings.Join(keyActions, ", ") + " and " + grantAction + " on it to the control " +
			"plane (docs/ec2.md)"
	}
	return provider.Because(cause, provider.ErrEnded, "",
		"EC2 has nothing of the %s that the client token %s made: %s", what, token, why)
}
