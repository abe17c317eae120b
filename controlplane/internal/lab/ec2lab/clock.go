package ec2lab

import (
	"net/http"
	"time"
)

// Dates is what EC2 makes of the dates of requests.
type Dates struct {
	// Ahead is how far EC2's clock is ahead of the callers', or behind when it is negative. A
	// request that is dated more than 5 minutes off is refused with AuthFailure, which says
	// nothing of dates (https://github.com/hashicorp/packer/issues/3140,
	// https://github.com/hashicorp/terraform-provider-aws/issues/1102), one of more than 15
	// minutes with RequestExpired
	// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html). The header
	// Date of each answer has EC2's time.
	Ahead time.Duration
	// KeyExpired refuses all requests with RequestExpired, for they are signed with temporary
	// credentials that have expired: the same code, at the right time (the same page, and
	// https://github.com/aws/aws-sdk-go-v2/issues/1674).
	KeyExpired bool
}

const (
	dateAccepted = 5 * time.Minute
	dateExpires  = 15 * time.Minute
	amzDate      = "20060102T150405Z"
)

func (s *Server) time() time.Time { return s.cfg.Now().Add(s.currentBehaviour().Dates.Ahead) }

// checkDate refuses a request for its date.
func (s *Server) checkDate(r *http.Request) error {
	expired := refuse("RequestExpired", "Request has expired.")
	if s.currentBehaviour().Dates.KeyExpired {
		return expired
	}
	dated, err := time.Parse(amzDate, r.Header.Get("X-Amz-Date"))
	switch off := s.time().Sub(dated).Abs(); {
	case err == nil && off > dateExpires:
		return expired
	case err != nil || off > dateAccepted:
		return refuse("AuthFailure",
			"AWS was not able to validate the provided access credentials")
	}
	return nil
}
