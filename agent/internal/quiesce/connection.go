package quiesce

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// message is one line between the agent and the process. The end of the connection means: resume,
// unless the session outlives its agent.
type message struct {
	Start  *Spec `json:"start,omitempty"`
	Resume bool  `json:"resume,omitempty"`
	// End resumes without a proof, and says why.
	End string `json:"end,omitempty"`
	// Held is what an agent is told that came after the point.
	Held     *held                  `json:"held,omitempty"`
	Progress string                 `json:"progress,omitempty"`
	Point    *consistentpoint.Point `json:"point,omitempty"`
	Left     time.Duration          `json:"left,omitempty"` // of the limit, with the point
	Result   *Result                `json:"result,omitempty"`
	Fault    *fault                 `json:"fault,omitempty"`
}

// held is a session that outlived its agent.
type held struct {
	Spec  Spec                  `json:"spec"`
	Point consistentpoint.Point `json:"point"`
	Left  time.Duration         `json:"left"` // of the limit
}

// fault is an error with its kind and reason.
type fault struct {
	Kind    uint32            `json:"kind"`
	Reason  int32             `json:"reason"`
	Message string            `json:"message"`
	Hint    string            `json:"hint"`
	Meta    map[string]string `json:"meta"`
}

func toFault(err error) *fault {
	return &fault{Kind: uint32(errs.KindOf(err)), Reason: int32(errs.ReasonOf(err)),
		Message: err.Error(), Hint: errs.HintOf(err).String(), Meta: errs.MetaOf(err)}
}

func (f *fault) err() error {
	options := []errs.Option{errs.WithHint(f.Hint)}
	for key, value := range f.Meta {
		options = append(options, errs.Meta(key, value))
	}
	return errs.New(errs.Kind(f.Kind), errorsv1.Reason(f.Reason), f.Message, options...)
}

// connection sends and receives messages.
type connection struct {
	conn *net.UnixConn
	dec  *json.Decoder
	mu   sync.Mutex
	enc  *json.Encoder
}

func newConnection(conn *net.UnixConn) *connection {
	return &connection{conn: conn, dec: json.NewDecoder(conn), enc: json.NewEncoder(conn)}
}

func (c *connection) send(m message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enc.Encode(m); err != nil {
		return fmt.Errorf("cannot reach the other side: %w", err)
	}
	return nil
}

func (c *connection) receive() (message, error) {
	var m message
	err := c.dec.Decode(&m)
	return m, err
}
