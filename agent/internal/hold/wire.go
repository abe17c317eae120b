package hold

import (
	"encoding/json"
	"fmt"
	"net"
	"sync"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// message is one line between the agent and the process that holds. The end of the connection is a
// message too: let go.
type message struct {
	Open      *Spec              `json:"open,omitempty"`
	Release   bool               `json:"release,omitempty"`
	Progress  string             `json:"progress,omitempty"`
	Testimony *mariadb.Testimony `json:"testimony,omitempty"`
	Result    *Result            `json:"result,omitempty"`
	Fault     *fault             `json:"fault,omitempty"`
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
		Message: err.Error(), Hint: errs.HintOf(err).String(),
		Meta: errs.MetaOf(err)}
}

func (f *fault) err() error {
	options := []errs.Option{errs.WithHint(f.Hint)}
	for key, value := range f.Meta {
		options = append(options, errs.Meta(key, value))
	}
	return errs.New(errs.Kind(f.Kind), errorsv1.Reason(f.Reason), f.Message, options...)
}

// wire sends and receives messages over the connection.
type wire struct {
	conn *net.UnixConn
	dec  *json.Decoder
	mu   sync.Mutex
	enc  *json.Encoder
}

func newWire(conn *net.UnixConn) *wire {
	return &wire{conn: conn, dec: json.NewDecoder(conn), enc: json.NewEncoder(conn)}
}

func (w *wire) send(m message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.enc.Encode(m); err != nil {
		return fmt.Errorf("cannot reach the other side of the hold: %w", err)
	}
	return nil
}

func (w *wire) receive() (message, error) {
	var m message
	err := w.dec.Decode(&m)
	return m, err
}
