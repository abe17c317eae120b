package device

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	"github.com/understudy-db/understudy/controlplane/internal/login"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// through is a code that the control plane got, whose client has a secret.
type through struct {
	client cpv1.EnrollmentServiceClient
	code   string
	pause  time.Duration
}

// Through asks the control plane for a code: its client at the provider has a secret, which is not
// for this computer.
func Through(ctx context.Context, client cpv1.EnrollmentServiceClient, issuer Issuer) (*Code,
	error) {
	answer, err := client.BeginLogin(ctx, &cpv1.BeginLoginRequest{Nonce: issuer.Nonce})
	if err != nil {
		return nil, err
	}
	c := &Code{issuer: issuer, Address: answer.GetVerificationUri(),
		Text: show.Clean(answer.GetUserCode()), Whole: answer.GetVerificationUriComplete(),
		Ends: answer.GetExpireTime().AsTime(), through: &through{client: client,
			code: answer.GetDeviceCode(), pause: min(answer.GetInterval().AsDuration(),
				maxInterval*time.Second)}}
	if err := login.CheckURL(c.Address); err != nil {
		return nil, c.unusable(err)
	}
	if login.CheckURL(c.Whole) != nil {
		c.Whole = ""
	}
	if c.through.code == "" || c.Text == "" {
		return nil, c.unusable(errors.New("it gave no code"))
	}
	if latest := time.Now().Add(maxWait); c.Ends.After(latest) {
		c.Ends = latest
	}
	return c, nil
}

// wait is Code.Wait.
func (t *through) wait(ctx context.Context, c *Code, note func(problem string)) (string, error) {
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(t.pause):
		}
		if !time.Now().Before(c.Ends) {
			return "", c.expired()
		}
		answer, err := t.client.ExchangeDeviceCode(ctx,
			&cpv1.ExchangeDeviceCodeRequest{DeviceCode: t.code})
		kind := errs.KindOf(err)
		switch {
		case err == nil && answer.GetIdToken() != "":
			return answer.GetIdToken(), nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err == nil && !answer.GetSlower():
			continue
		case err != nil && kind != errs.Unavailable && kind != errs.ResourceExhausted:
			return "", err
		case err != nil:
			note(show.Clean(err.Error()))
		}
		t.pause = min(t.pause+backOff*time.Second, maxInterval*time.Second)
	}
}
