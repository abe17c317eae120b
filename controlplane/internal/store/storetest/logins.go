package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// testLogins keeps persons by issuer and subject, and ID tokens until their end.
func testLogins(t *testing.T, open Open) {
	st := open(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	ann := inventory.Login{Person: inventory.Person{Issuer: "https://id.example",
		Subject: strings.Repeat("a", 255), Shown: "Änn 😀"}, Last: now}
	ann.Operator = ann.Name()
	bob := ann
	bob.Subject = strings.ToUpper(ann.Subject) // another one, also where texts are compared loosely
	bob.Operator = bob.Name()
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for _, login := range []inventory.Login{ann, bob, ann} {
			if err := tx.Logins().Put(ctx, login); err != nil {
				return err
			}
		}
		return nil
	})
	ann.RevokedAt, ann.Reason, ann.Shown = now, "left", "Ann"
	write(t, st, func(ctx context.Context, tx *store.Tx) error { return tx.Logins().Put(ctx, ann) })
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.Logins().All(ctx)
		if err != nil || len(all) != 2 {
			t.Errorf("%v, %v", all, err)
		}
		for _, want := range []inventory.Login{ann, bob} {
			got, err := tx.Logins().Get(ctx, want.Person)
			named, namedErr := tx.Logins().Named(ctx, want.Operator)
			if err != nil || namedErr != nil || got != want || named != want ||
				all[want.Operator] != want {
				t.Errorf("%+v, %+v, want %+v: %v, %v", got, named, want, err, namedErr)
			}
		}
		_, err = tx.Logins().Get(ctx, inventory.Person{Issuer: "x"})
		_, namedErr := tx.Logins().Named(ctx, "nobody")
		if !errors.Is(err, inventory.ErrNotFound) || !errors.Is(namedErr, inventory.ErrNotFound) {
			t.Errorf("nobody: %v, %v", err, namedErr)
		}
		return nil
	})
	spend := func(hash string, expires time.Time) (first bool) {
		write(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
			first, err = tx.Logins().Spend(ctx, hash, now, expires)
			return err
		})
		return first
	}
	if !spend("1", now.Add(time.Hour)) || spend("1", now.Add(time.Hour)) ||
		!spend("2", now.Add(-time.Hour)) || !spend("3", now.Add(time.Hour)) ||
		!spend("2", now.Add(time.Hour)) || spend("3", now.Add(time.Hour)) {
		t.Error("a token counts twice, or never")
	}
}
