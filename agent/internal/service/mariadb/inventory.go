package mariadb

import (
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/enum"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// objectsAtOnce are in one message.
const objectsAtOnce = 500

// ReadInventory implements the RPC.
func (s *Service) ReadInventory(r *agentv1.ReadInventoryRequest,
	stream agentv1.MariaDBService_ReadInventoryServer) error {
	some := &agentv1.ReadInventoryResponse{}
	err := s.mariadb.Server.Inventory(stream.Context(), r.GetNames(),
		func(o mariadb.Object) error {
			some.Objects = append(some.Objects, objectToProto(o))
			if len(some.GetObjects()) < objectsAtOnce {
				return nil
			}
			defer func() { some = &agentv1.ReadInventoryResponse{} }()
			return stream.Send(some)
		})
	if err != nil {
		return err
	}
	some.Complete, some.Digests = true, mariadb.Digests
	return stream.Send(some)
}

func objectToProto(o mariadb.Object) *agentv1.InventoryObject {
	return &agentv1.InventoryObject{Kind: enum.Of[agentv1.ObjectKind](string(o.Kind)),
		Name: o.Name, Digest: o.Digest, Problem: o.Problem, Busy: o.Busy, Value: o.Value,
		Remote: o.Remote}
}
