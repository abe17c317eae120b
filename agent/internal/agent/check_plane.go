package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// clockTolerance is far less than certificates are backdated by, and far more than clocks that
	// are set by NTP differ.
	clockTolerance = 5 * time.Minute
	introduceLimit = 15 * time.Second
)

// introduced is what came of asking a control plane at all of its addresses.
type introduced struct {
	reached  []string
	failed   []error
	answer   enroll.Introduction
	of       int
	fallback string // the first address, for what is said when none answers
}

// introduce asks the control plane at each address.
func introduce(ctx context.Context, addresses []string, pin string) introduced {
	in := introduced{of: len(addresses), fallback: strings.Join(addresses, ", ")}
	for _, address := range addresses {
		bounded, cancel := context.WithTimeout(ctx, introduceLimit)
		answer, err := enroll.Introduce(bounded, address, pin)
		cancel()
		if err != nil {
			in.failed = append(in.failed, err)
			continue
		}
		if in.reached = append(in.reached, address); len(in.reached) == 1 {
			in.answer = answer
		}
	}
	return in
}

// findings are about reaching the control plane, and its clock.
func (in introduced) findings() []Finding {
	const what = "control plane"
	if len(in.reached) == 0 {
		err := errors.Join(in.failed...)
		if err == nil {
			err = errors.New("no address")
		}
		return []Finding{findingOf(what, StateMissing, err, "see that it runs and that "+
			in.fallback+
			" can be reached from here, and compare the pin with the pin that the control plane "+
			"printed")}
	}
	findings := []Finding{ok(what, "answers at %s", strings.Join(in.reached, ", "))}
	for _, err := range in.failed {
		findings = append(findings,
			findingOf(what, StateWarning, err, "see that it can be reached"))
	}
	return append(findings, checkClock(in.answer))
}

// checkClock compares this host's clock with the control plane's.
func checkClock(in enroll.Introduction) Finding {
	const what = "clock"
	apart := in.Host.Sub(in.Time).Abs()
	// A slow answer explains as much.
	if apart <= clockTolerance+in.RoundTrip/2 {
		return ok(what, "as the control plane's, give or take %s",
			max(apart, time.Millisecond).Round(time.Millisecond))
	}
	return missing(what, fmt.Sprintf("this host has %s, the control plane has %s: %s apart, at "+
		"most %s are allowed", stampOf(in.Host), stampOf(in.Time), apart.Round(time.Second),
		clockTolerance), "set the clock that is wrong (timedatectl set-ntp true)")
}

func stampOf(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checkToken asks whether the token would be taken. It is not sent to a control plane whose
// certificate could not be held to a clock that is right.
func (in introduced) checkToken(ctx context.Context, file identity.JoinFile) Finding {
	const what = "join token"
	if len(in.reached) == 0 || checkClock(in.answer).State != StateOK {
		return warning(what, "not checked", "repair the findings above first")
	}
	bounded, cancel := context.WithTimeout(ctx, introduceLimit)
	defer cancel()
	until, err := enroll.CheckToken(bounded, in.reached[0], file)
	switch {
	case err == nil:
		return ok(what, "for %s, good until %s", file.Server, stampOf(until))
	case errs.ReasonOf(err) == errorsv1.Reason_REASON_TOKEN_USED:
		return warning(what, err.Error(),
			"go on only when this host began to join with it, otherwise make another one")
	}
	return findingOf(what, StateMissing, err, "make another join token")
}

// checkAttested looks whether the machine can show what its provider signs about it. What the
// control plane makes of it is seen when it joins.
func (e *examiner) checkAttested(ctx context.Context, file identity.JoinFile) Finding {
	const what = "attestation"
	if err := e.enroller.CheckAttested(ctx, file); err != nil {
		return findingOf(what, StateMissing, err, "use a join token")
	}
	return ok(what, "the metadata service has what EC2 signs about this machine")
}

// identity says who the host is already.
func (e *examiner) identity() Finding {
	const what = "identity"
	name, until, err := e.enroller.Current()
	switch {
	case name != "" && err == nil:
		return ok(what, "%s, until %s", identity.Agent(name), stampOf(until))
	case name != "":
		return missing(what, fmt.Sprintf("%s, which cannot be used: %v", identity.Agent(name), err),
			"start the agent, which renews one that has expired; where that is refused, make a "+
				"join token of the control plane, and join this host again (understudy-agent join)")
	}
	_, err = os.Stat(e.config.JoinFile)
	switch {
	case err == nil:
		return warning(what, "none yet", "start the agent, which enrols with "+e.config.JoinFile+
			" (systemctl enable --now understudy-agent)")
	case errors.Is(err, fs.ErrNotExist):
		return missing(what, "none, and no join file", "make a join token of the control plane, "+
			"and paste the line that it prints (understudy-agent join)")
	}
	return missing(what, err.Error(), "make the file readable")
}
