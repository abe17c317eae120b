package agentpool_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// An agent says what it likes: its machine may be somebody else's.

// saying is what is observed of an agent that sends messages until it may not.
func saying(t *testing.T, text string) ([]replication.Observed, error) {
	t.Helper()
	f := newFleet(t)
	f.db1(&agent{observe: observationService{observe: func(_ *agentv1.ObserveRequest,
		stream grpc.ServerStreamingServer[agentv1.ObserveResponse]) error {
		for i := int64(1); ; i++ {
			facts := &agentv1.HostFacts{Unit: &agentv1.UnitFacts{Errors: []string{text}},
				Mariadb: &agentv1.MariaDBStatus{DownReason: text, Datadir: text}}
			if err := stream.Send(&agentv1.ObserveResponse{Change: i, Hash: fmt.Sprint(i),
				Facts: facts}); err != nil {
				return err
			}
		}
	}}})
	return observe(t, f, replication.Observed{}, 1000)
}

func TestTextsOfAnAgentAreCut(t *testing.T) {
	t.Parallel()
	all, _ := saying(t, strings.Repeat("ü", 50<<10))
	if len(all) == 0 {
		t.Fatal("nothing was observed")
	}
	if whole := all[0].Datadir; len(whole) != 100<<10 {
		t.Errorf("a fact of %d bytes: a part of it is another one", len(whole))
	}
	for _, text := range []string{all[0].DownReason, all[0].Unit.Errors[0]} {
		if len(text) < 16<<10 || len(text) > 17<<10 || !strings.HasSuffix(text, "ü…") {
			t.Errorf("a text of %d bytes", len(text))
		}
	}
}

func TestMessagesOfAnAgentAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		most int
	}{"a large message": {strings.Repeat("x", 1<<20), 0}, "many": {"x", 500},
		"a large fact": {strings.Repeat("x", 520<<10), 0}} {
		all, err := saying(t, c.text)
		if !errors.Is(err, errs.ResourceExhausted) || len(all) > c.most {
			t.Errorf("%s: %d messages, then %v", name, len(all), err)
		}
	}
}

func TestACallThatGoesOnIsEnded(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.db1(&agent{mariadb: mariadbService{inventory: func(
		stream grpc.ServerStreamingServer[agentv1.ReadInventoryResponse]) error {
		for {
			err := stream.Send(&agentv1.ReadInventoryResponse{
				Objects: []*agentv1.InventoryObject{{Name: strings.Repeat("n", 1<<20)}}})
			if err != nil {
				return err
			}
		}
	}}})
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	_, err = a.Inventory(t.Context(), nil, func(kit.Object) { taken++ })
	if !errors.Is(err, errs.ResourceExhausted) || taken > 64 {
		t.Errorf("%d objects, then %v", taken, err)
	}
}

func TestTablesWithoutEndAreRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	pages := 0
	f.db1(&agent{mariadb: mariadbService{tables: func(
		*agentv1.ListTablesRequest) (*agentv1.ListTablesResponse, error) {
		page := make([]*agentv1.Table, 20_000)
		for n := range page {
			page[n] = &agentv1.Table{Name: fmt.Sprintf("a.%04d%05d", pages, n)}
		}
		pages++
		return &agentv1.ListTablesResponse{Tables: page}, nil
	}}})
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	all, err := a.Tables(t.Context())
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_TOO_MANY_OBJECTS || len(all) > 0 {
		t.Errorf("%d tables, then %v", len(all), err)
	}
}
