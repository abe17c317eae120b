package inventory_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

func TestAPersonHasANameOfTheirOwn(t *testing.T) {
	t.Parallel()
	const issuer = "https://id.example"
	alice := inventory.Person{Issuer: issuer, Subject: "1", Shown: "Alice@Example.com"}
	if name := alice.Name(); !strings.HasPrefix(name, "oidc.alice-example.com.") {
		t.Errorf("got %s", name)
	}
	names := map[string]inventory.Person{}
	for _, p := range []inventory.Person{alice,
		{Issuer: issuer, Subject: "2", Shown: alice.Shown},
		{Issuer: issuer + "/", Subject: "1", Shown: alice.Shown},
		{Issuer: issuer + "1", Subject: "", Shown: alice.Shown},
		{Issuer: issuer, Subject: "3", Shown: "../../admin"},
		{Issuer: issuer, Subject: "4", Shown: "\u202eadmin"},
		{Issuer: issuer, Subject: "5", Shown: ""},
		{Issuer: issuer, Subject: "6", Shown: strings.Repeat("a.", 500)},
	} {
		if other, taken := names[p.Name()]; taken {
			t.Errorf("%v and %v are both %s", p, other, p.Name())
		}
		names[p.Name()] = p
	}
	renamed := alice
	if renamed.Shown = "admin"; renamed.Key() != alice.Key() {
		t.Error("another shown name makes another person")
	}
}

func TestAnyPersonHasAValidName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := inventory.Person{Issuer: rapid.String().Draw(t, "issuer"),
			Subject: rapid.String().Draw(t, "subject"), Shown: rapid.String().Draw(t, "shown")}
		if err := identity.CheckName(p.Name()); err != nil || !inventory.IsPerson(p.Name()) {
			t.Fatalf("%q: %v", p.Name(), err)
		}
	})
}
