package trail

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

const (
	// fetchLimit bounds what one agent may take of a round.
	fetchLimit = 30 * time.Second
	// fetchAtOnce is how many agents are asked at a time: some of them hang.
	fetchAtOnce = 16
	// silentRounds is how often an agent fails in a row until the log says so.
	silentRounds = 4
	// mostAtOnce and mostPerHour are the bytes of records that are kept of one server.
	mostAtOnce, mostPerHour = 64 << 20, 2 << 20
	// each line and each batch costs more than its bytes
	costOfLine, costOfBatch = 1 << 10, 4 << 10
	// mostLines and longestLine bound a batch: an agent keeps to them.
	mostLines, longestLine = 1000, 64 << 10
	// takenAtOnce are lines of one transaction: others wait for it.
	takenAtOnce = 200
	longestHash = 64
	// widestGap is more than the records that a store can have lost.
	widestGap = 1 << 40
)

// Batch is what an agent says of its audit.
type Batch struct {
	// Chain is the chain's name.
	Chain string
	// Lines are the next records, as the agent wrote them.
	Lines []string
	// Head is the chain's newest record.
	Head audit.Head
}

// Agents reach the agents of servers.
type Agents interface {
	// FetchAudit tells the server's agent which of its records are kept, and gets the next ones.
	FetchAudit(ctx context.Context, server, address, chain string, kept audit.Head) (Batch, error)
}

// Fetcher brings the audits of agents into the store.
type Fetcher struct {
	*Trail
	Agents Agents

	mu      sync.Mutex
	sources map[string]*source // by server
}

// Round asks all agents once. One that is out of reach keeps its records until a later round.
func (f *Fetcher) Round(ctx context.Context) error {
	var all []inventory.Server
	err := f.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.Servers().All(ctx)
		return err
	})
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(fetchAtOnce)
	for _, srv := range all {
		if srv.Address == "" || srv.AgentIdentity == "" || srv.State == inventory.ServerDeleted {
			continue
		}
		from := f.source(srv.Name)
		group.Go(func() error {
			bounded, cancel := context.WithTimeout(ctx, fetchLimit)
			defer cancel()
			from.using.Lock()
			defer from.using.Unlock()
			if err := f.fetch(bounded, from, srv.Name, srv.Address); ctx.Err() == nil {
				f.notice(from, srv.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Last fetches all that the agent of a server has now, before the server goes.
func (f *Fetcher) Last(ctx context.Context, server string) error {
	var srv inventory.Server
	err := f.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		srv, err = tx.Servers().Get(ctx, server)
		return err
	})
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	from := f.source(server)
	from.using.Lock()
	defer from.using.Unlock()
	return f.fetch(bounded, from, server, srv.Address)
}

// notice says once that an agent does not hand over its audit, and when it does again.
func (f *Fetcher) notice(from *source, server string, err error) {
	if err == nil {
		if from.failed >= silentRounds {
			f.Logger.Warn("an agent hands over its audit again", "server", server)
		}
		from.failed = 0
		return
	}
	if from.failed++; from.failed == silentRounds {
		f.Logger.Warn("an agent does not hand over its audit", "server", server, "error", err)
	}
}

// fetch takes all that the agent has.
func (f *Fetcher) fetch(ctx context.Context, from *source, server, address string) error {
	for {
		chain := from.chain
		kept, err := f.kept(ctx, chain)
		if err != nil {
			return err
		}
		batch, err := f.Agents.FetchAudit(ctx, server, address, chain, kept)
		if err != nil {
			return err
		}
		if err := check(server, batch); err != nil {
			return err
		}
		before := kept
		if batch.Chain != chain {
			if before, err = f.kept(ctx, batch.Chain); err != nil {
				return err
			}
		}
		if len(batch.Lines) > 0 && before.Seq == 0 && !from.mayBegin(batch.Chain) {
			return fmt.Errorf("the agent of %s began more than %d audits in a day", server,
				mostChains)
		}
		from.chain = batch.Chain
		if !from.hasRoom(batch.Lines) {
			return fmt.Errorf("the agent of %s has more records than are kept of it", server)
		}
		if len(batch.Lines) == 0 {
			return f.complete(ctx, server, chain, kept, batch)
		}
		for lines := range slices.Chunk(batch.Lines, takenAtOnce) {
			if err := f.take(ctx, batch.Chain, lines); err != nil {
				return err
			}
		}
	}
}

func (f *Fetcher) kept(ctx context.Context, chain string) (head audit.Head, err error) {
	if chain == "" {
		return head, nil
	}
	err = f.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		head, err = tx.Audit().Head(ctx, chain)
		return err
	})
	return head, err
}

// complete compares the heads of both when the agent has nothing more. What another control plane
// on the store fetched meanwhile is compared in the next round.
func (f *Fetcher) complete(ctx context.Context, server, chain string, kept audit.Head,
	batch Batch) error {
	now, err := f.kept(ctx, chain)
	if err != nil || now != kept {
		return err
	}
	if chain == batch.Chain && kept.Seq > 0 && batch.Head != kept {
		f.Logger.Error("the audit of an agent is not what it was: run `understudy audit verify`",
			"server", server, "kept", kept.Seq, "found", batch.Head.Seq)
	}
	return nil
}

// take keeps the lines that are not kept yet, whether they fit or not, and says in the control
// plane's own chain how far that of the agent is.
func (f *Fetcher) take(ctx context.Context, chain string, lines []string) error {
	known, _ := f.newest()
	var before, own audit.Head
	var broken string
	err := f.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		head, err := tx.Audit().Lock(ctx, chain)
		if err != nil {
			return err
		}
		broken = ""
		var taken int64
		for _, text := range lines {
			line, r, wrong := f.read(head, text)
			if wrong == "" && r.Seq <= head.Seq { // kept already
				continue
			}
			if broken == "" {
				broken = wrong
			}
			head = audit.Head{Seq: max(r.Seq, head.Seq+1), Hash: line.Hash}
			if err := tx.Audit().Insert(ctx, chain, head, line, r,
				f.Key.Seal(chain, line.Hash)); err != nil {
				return err
			}
			taken++
		}
		if taken == 0 {
			return nil
		}
		before, own, err = tx.Audit().Append(ctx, Chain, audit.Record{Time: tx.Now(),
			Kind: audit.Fetched, Chain: chain, Through: head.Seq, Hash: head.Hash, Count: taken,
			Error: broken}, f.seal)
		return err
	})
	if err != nil {
		return err
	}
	if own.Seq > 0 {
		f.wrote(known, before, own)
	}
	if broken != "" {
		f.Logger.Error("the audit of an agent was changed: run `understudy audit verify`", "chain",
			chain, "error", broken)
	}
	return nil
}

// read is a line with its record, and what is wrong with it behind that head.
func (f *Fetcher) read(head audit.Head, text string) (line audit.Line, r audit.Record,
	wrong string) {
	err := json.Unmarshal([]byte(text), &line)
	if err == nil {
		r, err = line.Read()
	}
	switch {
	case err != nil || len(line.Hash) > longestHash || r.Seq > head.Seq+widestGap:
		return audit.Line{Record: json.RawMessage(text)}, audit.Record{},
			fmt.Sprintf("record %d cannot be read", head.Seq+1)
	case r.Seq <= head.Seq:
	case !line.Whole() || r.Seq != head.Seq+1 || r.Prev != head.Hash:
		wrong = fmt.Sprintf("record %d does not follow record %d", r.Seq, head.Seq)
	}
	return line, r, wrong
}
