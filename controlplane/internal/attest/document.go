package attest

import (
	"encoding/json"
	"errors"
	"regexp"
	"time"
)

// document is what is read of an instance identity document.
type document struct {
	Account  string `json:"accountId"`
	Region   string `json:"region"`
	Instance string `json:"instanceId"`
	// Started is when the instance was launched, or started after a stop.
	Started time.Time `json:"pendingTime"`
}

var instanceID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

func readDocument(content []byte) (document, error) {
	var d document
	if err := json.Unmarshal(content, &d); err != nil {
		return document{}, errors.New("its content is not an instance identity document")
	}
	if !instanceID.MatchString(d.Instance) || d.Started.IsZero() || d.Account == "" ||
		d.Region == "" {
		return document{}, errors.New("its content names no instance with account, region and " +
			"time of its start")
	}
	return d, nil
}
