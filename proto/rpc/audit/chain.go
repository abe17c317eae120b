package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Head is the last record of a chain; Seq is 0 for a chain without one.
type Head struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// ControlPlane is the name of the chain of the control plane.
const ControlPlane = "controlplane"

// Origin is what the first record of a chain follows: no record fits into a chain of another name.
func Origin(chain string) Head { return Head{Hash: sum([]byte("understudy audit " + chain))} }

// Link makes a record the next one after head, with its Seq and Prev.
func Link(head Head, r Record) (Line, Head, error) {
	r.Seq, r.Prev = head.Seq+1, head.Hash
	r.Time, r.Since = r.Time.UTC(), r.Since.UTC()
	body, err := json.Marshal(r)
	if err != nil {
		return Line{}, head, fmt.Errorf("cannot encode a record of the audit: %w", err)
	}
	line := Line{Hash: sum(body), Record: body}
	return line, Head{Seq: r.Seq, Hash: line.Hash}, nil
}

func sum(data []byte) string {
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

// AgentChain is the name of the chain of a server's agent. Another installation of an agent has
// another one.
func AgentChain(server string, random []byte) string {
	return AgentChains(server) + hex.EncodeToString(random)
}

// AgentChains begins the names of all chains of a server's agents.
func AgentChains(server string) string { return "servers/" + server + "/" }
