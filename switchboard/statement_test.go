package switchboard_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"latchkey/gate"
	"latchkey/switchboard"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault/enclave"
	"latchkey/wire"
)

func plain() *http.Client { return &http.Client{} }

// signed makes a statement by hand.
func (c *client) signed(t testing.TB, st switchboard.Statement, purpose string) *switchboardpb.Signed {
	t.Helper()
	b, err := wire.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	return &switchboardpb.Signed{Statement: b, Signature: wire.Sign(c.sign, purpose, b)}
}

func TestStatements(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.clients[0], w.clients[1]
	alice.enrol()
	raw := switchboardpb.NewSwitchboardServiceClient(plain(), w.url)
	now := w.now.Load()
	empty, err := wire.Marshal(struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	good := switchboard.Statement{Client: alice.id, Method: "Status", At: now, Number: 100, Payload: empty}
	status := func(s *switchboardpb.Signed) error {
		_, err := raw.Status(t.Context(), s)
		return err
	}
	with := func(f func(*switchboard.Statement)) switchboard.Statement {
		s := good
		s.Number += 1000
		f(&s)
		return s
	}
	for _, x := range []struct {
		name string
		s    *switchboardpb.Signed
		code connect.Code
	}{
		{"good", alice.signed(t, good, enclave.PurposeHost), 0},
		{"replayed", alice.signed(t, good, enclave.PurposeHost), connect.CodeFailedPrecondition},
		{"overtaken", alice.signed(t, with(func(s *switchboard.Statement) { s.Number = 99 }), enclave.PurposeHost), 0},
		{"overtaken, replayed", alice.signed(t, with(func(s *switchboard.Statement) { s.Number = 99 }), enclave.PurposeHost), connect.CodeFailedPrecondition},
		{"for another method", alice.signed(t, with(func(s *switchboard.Statement) { s.Method = "Poll" }), enclave.PurposeHost), connect.CodeFailedPrecondition},
		{"old", alice.signed(t, with(func(s *switchboard.Statement) { s.At -= switchboard.MaxSkew + 1 }), enclave.PurposeHost), connect.CodeFailedPrecondition},
		{"from the future", alice.signed(t, with(func(s *switchboard.Statement) { s.At += switchboard.MaxSkew + 1 }), enclave.PurposeHost), connect.CodeFailedPrecondition},
		{"within the skew", alice.signed(t, with(func(s *switchboard.Statement) { s.At -= switchboard.MaxSkew }), enclave.PurposeHost), 0},
		{"signed for another purpose", alice.signed(t, with(func(*switchboard.Statement) {}), "latchkey/accept/v1"), connect.CodePermissionDenied},
		{"signed by another", bob.signed(t, with(func(*switchboard.Statement) {}), enclave.PurposeHost), connect.CodePermissionDenied},
		{"of nobody enrolled", bob.signed(t, with(func(s *switchboard.Statement) { s.Client = bob.id }), enclave.PurposeHost), connect.CodeUnauthenticated},
		{"with another payload", alice.signed(t, with(func(s *switchboard.Statement) { s.Payload = []byte{1} }), enclave.PurposeHost), connect.CodeInvalidArgument},
		{"of no bytes", &switchboardpb.Signed{}, connect.CodeInvalidArgument},
	} {
		err := status(x.s)
		switch {
		case x.code == 0 && err != nil:
			t.Errorf("%s: %v", x.name, err)
		case x.code != 0 && (err == nil || connect.CodeOf(err) != x.code):
			t.Errorf("%s: error %v, want code %v", x.name, err, x.code)
		}
	}
	if _, err := bob.board.Status(t.Context()); !errors.Is(err, switchboard.ErrUnknown) {
		t.Errorf("a client that did not enrol hears %v, want ErrUnknown", err)
	}
}

// A statement that changed something is not taken again after a restart, and
// none that came before it.
func TestStatementsAfterRestart(t *testing.T) {
	w, alice, _ := pair(t)
	raw := switchboardpb.NewSwitchboardServiceClient(plain(), w.url)
	payload, err := wire.Marshal(switchboard.DenominatePayload{Asset: btc})
	if err != nil {
		t.Fatal(err)
	}
	at := func(n uint64) *switchboardpb.Signed {
		return alice.signed(t, switchboard.Statement{Client: alice.id, Method: "Denominate", At: w.now.Load(), Number: n, Payload: payload}, enclave.PurposeHost)
	}
	const number = 1 << 60
	if _, err := raw.Denominate(t.Context(), at(number)); err != nil {
		t.Fatal(err)
	}
	w.restart(true)
	for _, x := range []struct {
		n    uint64
		good bool
	}{{number, false}, {number - 1, false}, {number + 1, true}} {
		var err error
		w.eventually(func() error { // a rate comes a moment after the start
			if _, err = raw.Denominate(t.Context(), at(x.n)); err != nil && strings.Contains(err.Error(), "no deposit without a rate") {
				x.n++
				return err
			}
			return nil
		})
		if (err == nil) != x.good {
			t.Errorf("number %d after the restart: %v", x.n, err)
		}
	}
}

func TestEnrolmentsThatAreRefused(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.clients[0], w.clients[1]
	for _, x := range []struct {
		name     string
		identity wire.Identity
		evidence []byte
	}{
		{"another's evidence", alice.identity, bob.evidence},
		{"of another program", alice.identity, w.evidence(alice.id, [32]byte{8})},
		{"of no bytes", alice.identity, nil},
		{"without keys", wire.Identity{}, alice.evidence},
	} {
		if _, err := alice.board.Enrol(t.Context(), x.identity, x.evidence); err == nil {
			t.Errorf("enrolment with %s is taken", x.name)
		}
	}
	alice.enrol()
	alice.enrol() // again changes nothing
	w.restart(true)
	if _, err := alice.board.Status(t.Context()); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	w.now.Add(366 * 86400) // the device's certificate is for a year
	empty, err := wire.Marshal(struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	st := switchboard.Statement{Client: alice.id, Method: "Status", At: w.now.Load(), Number: 1 << 60, Payload: empty}
	raw := switchboardpb.NewSwitchboardServiceClient(plain(), w.url)
	if _, err := raw.Status(t.Context(), alice.signed(t, st, enclave.PurposeHost)); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("a client whose evidence is too old hears %v, want code unauthenticated", err)
	}
}

// A vault that asks too often is told when to ask again, and another one is not
// held up by it; who only says that it is the vault takes nothing of its limit.
func TestVaultLimit(t *testing.T) {
	w := newWorld(t, 2)
	alice, bob := w.clients[0], w.clients[1]
	alice.enrol()
	bob.enrol()
	still := time.Unix(w.now.Load(), 0)
	w.guard = gate.NewGuard(gate.Limits{VaultRate: 0.25, VaultBurst: 2}, func() time.Time { return still })
	w.restart(false)
	raw := switchboardpb.NewSwitchboardServiceClient(plain(), w.url)
	empty, err := wire.Marshal(struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	number := uint64(1 << 60)
	status := func(c, signer *client) error {
		number++
		st := switchboard.Statement{Client: c.id, Method: "Status", At: w.now.Load(), Number: number, Payload: empty}
		_, err := raw.Status(t.Context(), signer.signed(t, st, enclave.PurposeHost))
		return err
	}
	for range 5 {
		if err := status(alice, bob); connect.CodeOf(err) != connect.CodePermissionDenied {
			t.Errorf("bob in the name of alice: %v", err)
		}
	}
	for range 2 {
		if err := status(alice, alice); err != nil {
			t.Errorf("within the limit: %v", err)
		}
	}
	var limit *connect.Error
	if err := status(alice, alice); !errors.As(err, &limit) || limit.Code() != connect.CodeResourceExhausted || limit.Meta().Get("Retry-After") != "4" {
		t.Errorf("over the limit: %v, %v", err, limit)
	}
	if err := status(bob, bob); err != nil {
		t.Errorf("another vault: %v", err)
	}
}
