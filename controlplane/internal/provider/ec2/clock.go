package ec2

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// clockTolerance is how far the clock of this host may be from EC2's before it is blamed for a
// refusal. EC2 takes requests that are dated 5 minutes off.
const clockTolerance = 4 * time.Minute

// expiry are the codes of requests that came too late, be it for their date or for their
// credentials; dated are those of requests whose date may have made the signature bad.
var (
	expiry = []string{"RequestExpired", "ExpiredToken"}
	dated  = append([]string{"AuthFailure", "SignatureDoesNotMatch"}, expiry...)
)

// dates are that of a request, by this host's clock as the SDK corrects it, and that of EC2's
// answer; zero when there is none.
type dates struct{ request, answer time.Time }

const signedDate = "20060102T150405Z"

func datesOf(err error) (d dates) {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return d
	}
	if date, err := http.ParseTime(answer.Response.Header.Get("Date")); err == nil {
		d.answer = date
	}
	if asked := answer.Response.Request; asked != nil {
		if date, err := time.Parse(signedDate, asked.Header.Get("X-Amz-Date")); err == nil {
			d.request = date
		}
	}
	return d
}

// misdated says that EC2 refused a request for its date. The SDK has learnt from the answer, and
// dates the next one by EC2's clock: it is worth another try.
func misdated(err error) bool {
	d := datesOf(err)
	return slices.Contains(dated, codeOf(err)) && !d.request.IsZero() && !d.answer.IsZero() &&
		d.answer.Sub(d.request).Abs() > clockTolerance
}

// whyExpired says what has made a request come too late; empty for errors of other causes.
func whyExpired(err error) string {
	switch d := datesOf(err); {
	case misdated(err):
		return fmt.Sprintf("the clock of the control plane's host is wrong: it dated the request "+
			"%s, and EC2's shows %s", inUTC(d.request), inUTC(d.answer))
	case !slices.Contains(expiry, codeOf(err)):
		return ""
	case d.answer.IsZero():
		return "the clock of the control plane's host is wrong, or its temporary AWS credentials " +
			"have expired"
	}
	return "the control plane's temporary AWS credentials have expired: renew them"
}

func inUTC(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
