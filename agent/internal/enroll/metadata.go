package enroll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Metadata is where an EC2 instance reaches its metadata service.
const Metadata = "http://169.254.169.254"

const (
	// metadataLimit is how long the metadata service may take to answer, while a machine boots too.
	metadataLimit = 15 * time.Second
	// maxMetadata is far more than any of its answers that are read has.
	maxMetadata = 16 << 10

	tokenPath    = "/latest/api/token"
	identityPath = "/latest/dynamic/instance-identity/"
)

// metadata asks the metadata service of an EC2 instance, in a session (IMDSv2).
type metadata struct {
	endpoint string
	client   *http.Client
}

// newMetadata asks no proxy, and follows no answer elsewhere.
func newMetadata(endpoint string) metadata {
	return metadata{endpoint, &http.Client{Timeout: metadataLimit,
		Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}}
}

// identity is the instance identity document, and what EC2 has signed of it. It waits a while for
// a service that does not answer yet.
func (m metadata) identity(ctx context.Context) (document, signed []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, metadataLimit)
	defer cancel()
	for delay := firstDelay; ; delay = min(2*delay, maxDelay) {
		if document, signed, err = m.read(ctx); err == nil {
			return document, signed, nil
		}
		if !pause(ctx, delay, nil) {
			return nil, nil, errs.New(errs.Unavailable,
				errorsv1.Reason_REASON_ATTESTATION_INVALID,
				"cannot read what EC2 signs about this machine", errs.Wrap(err),
				errs.WithHint("see that this is an EC2 instance and that its metadata service is "+
					"on (curl "+m.endpoint+"/), or use a join token",
					errs.Call("CreateJoinToken")))
		}
	}
}

func (m metadata) read(ctx context.Context) (document, signed []byte, err error) {
	session, err := m.call(ctx, http.MethodPut, tokenPath,
		"X-aws-ec2-metadata-token-ttl-seconds", "60")
	if err != nil {
		return nil, nil, err
	}
	get := func(what string) ([]byte, error) {
		return m.call(ctx, http.MethodGet, identityPath+what, "X-aws-ec2-metadata-token",
			string(session))
	}
	if document, err = get("document"); err == nil {
		signed, err = get("rsa2048")
	}
	return document, signed, err
}

func (m metadata) call(ctx context.Context, method, path, header, value string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, m.endpoint+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set(header, value)
	answer, err := m.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxMetadata+1))
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the metadata service answers %s with %s", path, answer.Status)
	case len(body) == 0 || len(body) > maxMetadata:
		return nil, errors.New("the metadata service answers " + path +
			" with nothing, or too much")
	}
	return body, nil
}
