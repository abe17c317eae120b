package ec2lab

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// refusal is an error as EC2 answers it.
type refusal struct {
	code, message string
}

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

func (r *refusal) status() int {
	switch r.code {
	case "RequestLimitExceeded", "Unavailable":
		return http.StatusServiceUnavailable
	case "InternalError", "InsufficientInstanceCapacity":
		return http.StatusInternalServerError
	case "UnauthorizedOperation":
		return http.StatusForbidden
	case "AuthFailure":
		return http.StatusUnauthorized
	case "DryRunOperation":
		return http.StatusPreconditionFailed
	}
	return http.StatusBadRequest
}

// kindWords are what codes say of a kind of thing.
var kindWords = map[string]string{"i": "Instance", "vol": "Volume", "snap": "Snapshot"}

// translate turns the provider's refusal into EC2's. kind is i, vol or snap.
func translate(err error, kind, id string) error {
	var already *refusal
	if err == nil || errors.As(err, &already) {
		return err
	}
	word := kindWords[kind]
	switch {
	case errors.Is(err, provider.ErrNotFound):
		return notFound(kind, id)
	case errors.Is(err, provider.ErrIncorrectState) && kind == "i":
		return refuse("IncorrectInstanceState", "The instance '%s' is not in a state for that: %v",
			id, err)
	case errors.Is(err, provider.ErrIncorrectState):
		return refuse("IncorrectState", "%s '%s': %v", word, id, err)
	case errors.Is(err, provider.ErrInUse):
		return refuse("VolumeInUse", "%s is already attached to an instance", id)
	case errors.Is(err, provider.ErrLimitExceeded):
		return refuse(word+"LimitExceeded", "You have exceeded your limit of %ss: %v", word, err)
	case errors.Is(err, provider.ErrInvalid):
		return refuse("InvalidParameterValue", "%v", err)
	case errors.Is(err, provider.ErrTokenReused):
		return refuse("IdempotentParameterMismatch", "%v", err)
	}
	return refuse("InternalError", "An internal error has occurred: %v", err)
}

func notFound(kind, id string) error {
	code := map[string]string{"i": "InvalidInstanceID.NotFound", "vol": "InvalidVolume.NotFound",
		"snap": "InvalidSnapshot.NotFound", "ami": "InvalidAMIID.NotFound"}[kind]
	return refuse(code, "The %s '%s' does not exist.", kindWords[kind], id)
}

func malformed(kind, id string) error {
	code := map[string]string{"i": "InvalidInstanceID.Malformed", "vol": "InvalidParameterValue",
		"snap": "InvalidParameterValue", "ami": "InvalidAMIID.Malformed"}[kind]
	return refuse(code, "Invalid id: \"%s\"", id)
}
