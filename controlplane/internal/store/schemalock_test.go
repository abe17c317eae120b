package store

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// The commit that took the lock was not answered: its owner does not wait for itself to die.
func TestASchemaLockThatWasTakenUnheardIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "u.db")})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		lock := newSchemaLock(st)
		owner, beat, err := lock.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := lock.swap(t.Context(), owner, beat, lock.owner); err != nil || !ok {
			t.Fatal(ok, err)
		}
		began := time.Now()
		if err := lock.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited >= schemaLockLimit {
			t.Errorf("waited %s", waited)
		}
		if err := lock.release(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
