package ca_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const machine1 = "i-00000000000000001"

// attests says of what is signed which machine it is: by its words.
type attests map[string]inventory.Attested

func (attests) Name() string { return "ec2" }

func (a attests) Attest(_ context.Context, signed []byte, address string) (inventory.Attested,
	error) {
	if string(signed) == "nobody asks" {
		panic("the provider was asked")
	}
	m := a[string(signed)]
	if address != "10.0.0.7" {
		return m, errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_ATTESTATION_INVALID,
			"it comes from elsewhere", errs.WithHint("use a token"))
	}
	return m, nil
}

// attesting is a house that attests machines: "first" is machine1 at its first start, "second" the
// same after a stop, an hour later.
func attesting(t *testing.T) (*house, attests) {
	t.Helper()
	h := build(t)
	at := func(started time.Time) inventory.Attested {
		return inventory.Attested{Provider: "ec2", Machine: machine1, Started: started,
			Created: h.clock.Now(), Expires: started.Add(5 * time.Minute)}
	}
	a := attests{"first": at(h.clock.Now()), "second": at(h.clock.Now().Add(time.Hour))}
	h.registry = h.open(func(c *ca.Config) { c.Attestor = a })
	return h, a
}

func (h *house) attested(server, signed string, k ca.Keys) error {
	h.t.Helper()
	_, err := h.registry.Enroll(h.t.Context(), ca.EnrollRequest{Attestation: []byte(signed),
		Server: server, Keys: k, Address: "10.0.0.7"})
	return err
}

// named has an operator name machine1 for a server.
func (h *house) named(server string, ttl time.Duration) error {
	data, _, err := h.registry.CreateToken(h.t.Context(), ca.TokenRequest{Server: server, TTL: ttl,
		Machine: machine1, Replace: true, Caller: ca.Caller{Peer: h.bob()}})
	if err != nil {
		return err
	}
	file, err := identity.ParseJoinFile(data)
	if err == nil && (file.Token != "" || file.Attest != "ec2" || file.Server != server ||
		!strings.HasSuffix(file.Command(), " --attest ec2")) {
		h.t.Errorf("the join file is %+v", file)
	}
	return err
}

func (h *house) bob() identity.Peer { return h.operator(identity.Operator("bob"), newKey(h.t)) }

// made has a job on record that made machine1 for a server.
func (h *house) made(server string) {
	h.t.Helper()
	err := h.store.Write(h.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx, &inventory.Server{Name: server, MachineID: machine1,
			State: inventory.ServerProvisioning, Role: inventory.RoleNone, Provider: "ec2"})
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) refuses(err error, kind error, reason errorsv1.Reason, word string) {
	h.t.Helper()
	if !errors.Is(err, kind) || errs.ReasonOf(err) != reason ||
		!strings.Contains(err.Error(), word) || errs.HintOf(err).Empty() {
		h.t.Errorf("%v: %v, and not %v with %q", err, errs.ReasonOf(err), reason, word)
	}
}

func (h *house) messages(action string) (messages []string) {
	h.t.Helper()
	list, _, err := query.Events{Store: h.store}.Events(h.t.Context(),
		query.EventFilter{Action: action}, 100, "")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range list {
		messages = append(messages, e.Message)
	}
	return messages
}

func (h *house) joinTokens() []inventory.JoinToken {
	h.t.Helper()
	all, err := query.Tokens{Store: h.store}.List(h.t.Context(), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// Anybody sends signing requests that are none, for which EC2 would be asked.
func TestKeysAreReadBeforeTheProviderIsAsked(t *testing.T) {
	t.Parallel()
	h, _ := attesting(t)
	good := keys(t)
	for what, bad := range map[string]ca.Keys{
		"none":              {},
		"nonsense":          {Agent: []byte("x"), MariaDB: good.MariaDB},
		"none for MariaDB":  {Agent: good.Agent},
		"one key for both":  {Agent: good.Agent, MariaDB: good.Agent},
		"too long":          {Agent: make([]byte, 17<<10), MariaDB: good.MariaDB},
		"a key of RSA":      {Agent: good.Agent, MariaDB: rsaCSR(t)},
		"signed by another": {Agent: forged(t, good.Agent), MariaDB: good.MariaDB},
	} {
		err := h.attested("db-1", "nobody asks", bad)
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_CSR_INVALID {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// forged is a signing request whose signature is not that of its key.
func forged(t *testing.T, csr []byte) []byte {
	t.Helper()
	forged := bytes.Clone(csr)
	forged[len(forged)-1] ^= 1
	return forged
}

func TestAMachineThatWasMadeJoinsOnce(t *testing.T) {
	t.Parallel()
	h, _ := attesting(t)
	mine := keys(t)
	h.refuses(h.attested("db-1", "first", mine), errs.Unavailable,
		errorsv1.Reason_REASON_ATTESTATION_INVALID, "nobody has named it")
	h.made("db-1")
	h.refuses(h.attested("db-2", "first", mine), errs.Unavailable,
		errorsv1.Reason_REASON_ATTESTATION_INVALID, "db-2")
	for range 2 { // an answer that was lost costs nothing
		if err := h.attested("db-1", "first", mine); err != nil {
			t.Fatal(err)
		}
	}
	used := errorsv1.Reason_REASON_ATTESTATION_USED
	h.refuses(h.attested("db-1", "first", keys(t)), errs.PermissionDenied, used, machine1)
	h.refuses(h.attested("db-2", "first", mine), errs.PermissionDenied, used, machine1)
	h.clock.forward(time.Hour)
	h.refuses(h.attested("db-1", "second", keys(t)), errs.PermissionDenied,
		errorsv1.Reason_REASON_ATTESTATION_INVALID, "once")
	all := h.joinTokens()
	if len(all) != 1 || all[0].Machine() != machine1 || all[0].Server != "db-1" ||
		all[0].Creator != identity.ControlPlane().String() || all[0].UsedBy == "" {
		t.Errorf("on record is %+v", all)
	}
	enrolled := h.messages("server.enrol")
	if len(enrolled) != 2 || !strings.Contains(enrolled[0], "by attestation of machine "+machine1) {
		t.Errorf("the events say %q", enrolled)
	}
}

// A machine of the fleet that was restarted is not the one of its first start, also while nothing
// is on record of that one.
func TestAMadeMachineJoinsAtItsFirstStartAlone(t *testing.T) {
	t.Parallel()
	h, _ := attesting(t)
	h.made("db-1")
	h.clock.forward(time.Hour)
	h.refuses(h.attested("db-1", "second", keys(t)), errs.PermissionDenied,
		errorsv1.Reason_REASON_ATTESTATION_INVALID, "first start")
}

func TestAMachineThatIsNamedJoins(t *testing.T) {
	t.Parallel()
	h, _ := attesting(t)
	if err := h.named("db-1", 0); err != nil {
		t.Fatal(err)
	}
	h.refuses(h.attested("db-2", "first", keys(t)), errs.PermissionDenied,
		errorsv1.Reason_REASON_TOKEN_INVALID, "db-2")
	mine := keys(t)
	for range 2 {
		if err := h.attested("db-1", "first", mine); err != nil {
			t.Fatal(err)
		}
	}
	// Named again, the same start gives nothing to another key, and the next one does.
	if err := h.named("db-1", 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	h.refuses(h.attested("db-1", "first", keys(t)), errs.PermissionDenied,
		errorsv1.Reason_REASON_ATTESTATION_USED, machine1)
	h.clock.forward(time.Hour)
	if err := h.attested("db-1", "second", keys(t)); err != nil {
		t.Error(err)
	}
	if all := h.joinTokens(); len(all) != 2 || all[0].UsedBy == "" || all[1].UsedBy == "" {
		t.Errorf("on record are %+v", all)
	}
}

func TestWhatEndsANamedMachine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end    func(h *house)
		reason errorsv1.Reason
		word   string
	}{
		"time": {func(h *house) { h.clock.forward(61 * time.Minute) },
			errorsv1.Reason_REASON_TOKEN_EXPIRED, "expired"},
		"its operator is revoked": {func(h *house) { h.revoke(identity.Operator("bob")) },
			errorsv1.Reason_REASON_TOKEN_INVALID, "revoked"},
		"the server's agent is revoked": {func(h *house) {
			if _, err := h.enroll(h.token0("db-1"), "db-1", keys(h.t)); err != nil {
				h.t.Fatal(err)
			}
			h.revoke(identity.Agent("db-1"))
		}, errorsv1.Reason_REASON_TOKEN_INVALID, "before the certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := attesting(t)
			if err := h.named("db-1", time.Hour); err != nil {
				t.Fatal(err)
			}
			test.end(h)
			h.refuses(h.attested("db-1", "first", keys(t)), errs.PermissionDenied, test.reason,
				test.word)
		})
	}
}

// token0 is a join token of the control plane, with a secret.
func (h *house) token0(server string) string {
	h.t.Helper()
	token, err := h.token(identity.Peer{Identity: identity.ControlPlane()}, server)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// The record of a machine is no token that somebody could show.
func TestTheRecordOfAMachineIsNoToken(t *testing.T) {
	t.Parallel()
	h, a := attesting(t)
	if err := h.named("db-1", 0); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{h.joinTokens()[0].Hash, a["first"].Key()} {
		_, err := h.enroll(text, "db-1", keys(t))
		h.refuses(err, errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID, "token")
	}
}

func TestWithoutAttestationNoneIsTaken(t *testing.T) {
	t.Parallel()
	h := build(t)
	const invalid = errorsv1.Reason_REASON_ATTESTATION_INVALID
	h.refuses(h.attested("db-1", "first", keys(t)), errs.FailedPrecondition, invalid, "takes no")
	h.refuses(h.named("db-1", 0), errs.FailedPrecondition, invalid, "takes no")
}

// A machine that was proved and refused is an event, once a day; what proves no machine is none.
func TestAMachineThatIsRefusedIsAnEventOnce(t *testing.T) {
	t.Parallel()
	h, _ := attesting(t)
	h.made("db-1")
	if err := h.attested("db-1", "first", keys(t)); err != nil {
		t.Fatal(err)
	}
	elsewhere := func(signed string) {
		_, err := h.registry.Enroll(t.Context(), ca.EnrollRequest{Attestation: []byte(signed),
			Server: "db-1", Keys: keys(t), Address: "192.0.2.66"})
		if !errors.Is(err, errs.PermissionDenied) {
			t.Error(err)
		}
	}
	elsewhere("garbage")
	if found := h.messages("identity.refused"); len(found) != 0 {
		t.Errorf("garbage makes the events %q", found)
	}
	for range 3 {
		elsewhere("first")
	}
	found := h.messages("identity.refused")
	if len(found) != 1 || !strings.Contains(found[0], machine1) ||
		!strings.Contains(found[0], "192.0.2.66") {
		t.Errorf("the events say %q", found)
	}
}

// Who joins in place of the agent does not hide that by a refusal of before, nor under the name of
// another server.
func TestAThiefDoesNotHideThatTheStartWasUsed(t *testing.T) {
	t.Parallel()
	h, _ := attesting(t)
	h.made("db-1")
	_, err := h.registry.Enroll(t.Context(), ca.EnrollRequest{Attestation: []byte("first"),
		Server: "db-2", Keys: keys(t), Address: "192.0.2.66"})
	h.refuses(err, errs.PermissionDenied, errorsv1.Reason_REASON_ATTESTATION_INVALID, "elsewhere")
	if err := h.attested("db-1", "first", keys(t)); err != nil {
		t.Fatal(err)
	}
	const used = errorsv1.Reason_REASON_ATTESTATION_USED
	h.refuses(h.attested("db-2", "first", keys(t)), errs.PermissionDenied, used, "db-1")
	agent := h.attested("db-1", "first", keys(t))
	h.refuses(agent, errs.PermissionDenied, used, "db-1")
	if found := strings.Join(h.messages("identity.refused"), "\n"); !strings.Contains(found,
		"another key has joined by the start of machine "+machine1) ||
		!strings.Contains(found, "as server db-1") {
		t.Errorf("the events say %q", found)
	}
}

// A restore forgets who joined after the backup: the start of before it gives nothing then.
func TestAStartOfBeforeARestoreGivesNothing(t *testing.T) {
	t.Parallel()
	h, _ := attesting(t)
	h.made("db-1")
	h.clock.forward(time.Minute)
	restore := func() {
		if err := h.store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return tx.Restored(ctx, h.clock.Now().Add(-time.Hour))
		}); err != nil {
			t.Fatal(err)
		}
	}
	restore()
	h.refuses(h.attested("db-1", "first", keys(t)), errs.PermissionDenied,
		errorsv1.Reason_REASON_ATTESTATION_EXPIRED, "restored")
	if err := h.named("db-1", 0); err != nil {
		t.Fatal(err)
	}
	if err := h.attested("db-1", "first", keys(t)); err != nil {
		t.Errorf("an operator has named it since: %v", err)
	}
}

func TestJobsPutNoSecretIntoJoinFilesOfAttestedMachines(t *testing.T) {
	t.Parallel()
	h, _ := attesting(t)
	file := h.joinFile("db-1")
	if file.Token != "" || file.Attest != "ec2" || len(file.ControlPlane) != 2 {
		t.Errorf("the join file is %+v", file)
	}
	if all := h.joinTokens(); len(all) != 0 {
		t.Errorf("on record are %+v", all)
	}
}
