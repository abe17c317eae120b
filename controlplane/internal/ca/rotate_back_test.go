package ca_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// alone has a host renew its agent's certificate, as it does at half of a day: MariaDB's stays.
func (e *estate) alone(server string) {
	e.t.Helper()
	bundle, err := e.registry.Renew(e.t.Context(), ca.RenewRequest{
		Peer: peer(e.t, e.hosts[server]), Keys: ca.Keys{Agent: csr(e.t, newKey(e.t))}})
	if err != nil {
		e.t.Fatal(err)
	}
	bundle.MariaDB = e.hosts[server].MariaDB
	e.hosts[server] = bundle
	e.shown(server)
}

// On the way back nobody drops the successor while a MariaDB shows what it signed.
func TestTheWayBackWaitsForMariaDB(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1", "db-2")
	e.goes(ca.PhaseIntroduced, false)
	e.renew("db-1", true)
	e.renew("db-2", true)
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-1", true)
	e.renew("db-2", true)
	e.goes(ca.PhaseIntroduced, true)
	e.alone("db-1")
	e.alone("db-2")
	if _, err := e.rotate(true); errs.KindOf(err) != errs.FailedPrecondition {
		t.Fatalf("believed no longer, while MariaDB shows it: %v", err)
	}
	e.renew("db-1", true)
	e.renew("db-2", true)
	e.goes(ca.PhaseSingle, true)
	e.alone("db-1")
	e.check("afterwards")
}
