package ca

import (
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// fits refuses certificates of the authority that the agent would not take.
func (c certification) fits(a *Authority) error {
	if c.takesChain || a.now().issuers[0].intermediate == nil {
		return nil
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIMPLEMENTED,
		"the agent of "+c.agent.Name+" is of a version that takes no certificate of an "+
			"intermediate, and one signs", errs.WithHint("upgrade understudy-agent on the host"))
}
