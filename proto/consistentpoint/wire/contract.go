// Package wire converts a contract to and from the agent's API, for both ends.
package wire

import (
	"github.com/understudy-db/understudy/proto/consistentpoint"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// FromProto is a contract as both ends reason about it; nil stays nil.
func FromProto(c *agentv1.DatadirContract) *consistentpoint.Contract {
	if c == nil {
		return nil
	}
	contract := &consistentpoint.Contract{Options: c.GetOptions(), Libraries: c.GetLibraries(),
		Preload: c.GetPreload(), Collations: c.GetCollations(), KeyLibrary: c.GetKeyLibrary(),
		KeyFingerprint: c.GetKeyFingerprint()}
	for _, id := range c.GetKeyIds() {
		contract.KeyIDs = append(contract.KeyIDs, uint32(id))
	}
	return contract
}

// ToProto is a contract as it travels; nil stays nil.
func ToProto(c *consistentpoint.Contract) *agentv1.DatadirContract {
	if c == nil {
		return nil
	}
	contract := &agentv1.DatadirContract{Options: c.Options, Libraries: c.Libraries,
		Preload: c.Preload, Collations: c.Collations, KeyLibrary: c.KeyLibrary,
		KeyFingerprint: c.KeyFingerprint}
	for _, id := range c.KeyIDs {
		contract.KeyIds = append(contract.KeyIds, int64(id))
	}
	return contract
}
