package proof

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// forget drops what is known of servers that are gone, also in the store: a document may have
// thousands of tables. The first time that is whatever an earlier process left there.
func (v *Verifier) forget(ctx context.Context, all []inventory.Server) error {
	there := map[string]bool{}
	for _, s := range all {
		there[s.Name] = s.State != inventory.ServerDeleted
	}
	v.mu.Lock()
	known := slices.Collect(maps.Keys(v.replicas))
	maps.DeleteFunc(v.replicas, func(name string, _ *replica) bool { return !there[name] })
	maps.DeleteFunc(v.rests, func(name string, _ time.Time) bool { return !there[name] })
	v.mu.Unlock()
	isThere := func(name string) bool { return there[name] }
	if v.swept && !slices.ContainsFunc(known, func(name string) bool { return !there[name] }) {
		return nil
	}
	err := v.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		kept, err := tx.Proofs().Servers(ctx)
		if err != nil {
			return err
		}
		for _, name := range slices.DeleteFunc(kept, isThere) {
			if err := tx.Proofs().Put(ctx, name, ""); err != nil {
				return err
			}
		}
		return nil
	})
	v.swept = err == nil
	return err
}

// load reads what an earlier process knew of the replicas, so that what it found to differ counts.
func (v *Verifier) load(ctx context.Context, all []inventory.Server) error {
	for _, s := range all {
		if s.Role != inventory.RoleReplica || !s.InService() {
			continue
		}
		if _, err := v.replica(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// takeRepairs ends what a verification of all data found to be equal since: the next round that
// sees it may be far.
func (v *Verifier) takeRepairs(all []inventory.Server) {
	for _, s := range all {
		r, proof := v.known(s.Name), s.Verified
		if r == nil || proof.Level != inventory.VerifyFull || proof.Open > 0 {
			continue
		}
		r.mu.Lock()
		if r.rec.Volume == s.DataVolume && r.rec.repaired(proof.Began) {
			r.unsaved = true
		}
		r.mu.Unlock()
	}
}

// replica is what is known of a server, from the store the first time.
func (v *Verifier) replica(ctx context.Context, s inventory.Server) (*replica, error) {
	if known := v.known(s.Name); known != nil {
		known.mu.Lock()
		defer known.mu.Unlock()
		if known.rec.Volume != s.DataVolume {
			known.rec, known.pending, known.due = Record{Volume: s.DataVolume}, nil, time.Time{}
		}
		return known, nil
	}
	var doc string
	err := v.cfg.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		doc, err = tx.Proofs().Get(ctx, s.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	r := &replica{saved: time.Now()}
	if doc == "" || json.Unmarshal([]byte(doc), &r.rec) != nil || r.rec.Volume != s.DataVolume {
		r.rec = Record{Volume: s.DataVolume}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.replicas[s.Name] = r
	return r, nil
}

// save writes a record down now and then: what is lost is compared again. What differs is written
// at once: a replica that is known to differ stays so.
func (v *Verifier) save(ctx context.Context, name string, r *replica) error {
	r.mu.Lock()
	if !r.unsaved && time.Since(r.saved) < saveEvery*time.Duration(1+len(r.rec.Tables)/500) {
		r.mu.Unlock()
		return nil
	}
	r.saved = time.Now()
	doc, err := json.Marshal(r.rec)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeLimit)
	defer cancel()
	err = v.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.Proofs().Put(ctx, name, string(doc))
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsaved = r.unsaved && err != nil
	return err
}
