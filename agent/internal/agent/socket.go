package agent

import (
	"context"
	"os"
	"path/filepath"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
)

// socketName is the socket in the runtime directory over which root calls its host's agent, also
// when no control plane is there.
const socketName = "agent.sock"

// openSocket makes the server on the socket, like that of the network but for who calls. Without
// the socket the agent works on, and the server is nil.
func (d *runner) openSocket(ctx context.Context, like chassis.Config) (*chassis.Server, error) {
	listener, err := chassis.ListenLocal(ctx, filepath.Join(d.config.RuntimeDir, socketName))
	if err != nil {
		d.options.Log.Error("there is no socket: root cannot call the agent on this host", "error",
			err)
		return nil, nil
	}
	like.Listener, like.LocalUsers = listener, []uint32{0, uint32(os.Geteuid())}
	return chassis.New(like)
}
