package vault_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"latchkey/spec/vectors"
	"latchkey/vault"
	"latchkey/wire"
)

type messageVector struct {
	Name   string      `json:"name"`
	Expect string      `json:"expect"`
	Kind   string      `json:"kind"` // request or reply
	CBOR   vectors.Hex `json:"cbor"`
}

func (v messageVector) check(t *testing.T) error {
	if v.Kind == "request" {
		q, err := vault.ParseRequest(v.CBOR)
		if err == nil {
			again(t, v.CBOR, q)
		}
		return err
	}
	var r vault.Reply
	err := wire.Unmarshal(v.CBOR, &r)
	if err == nil {
		again(t, v.CBOR, r)
	}
	return err
}

// asks names what a request asks.
func asks(q vault.Request) string {
	v := reflect.ValueOf(q)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			return strings.ToLower(v.Type().Field(i).Name)
		}
	}
	return "nothing"
}

// TestMessageVectors takes what vaults said to the escrow and heard from it.
func TestMessageVectors(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 3)
	h := newHistory(t)
	var made []messageVector
	add := func(name, expect, kind string, v any) {
		b, err := wire.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, messageVector{name, expect, kind, b})
	}
	kinds := map[string]bool{"lock": true}
	lock, err := vault.ParseEntry(h.entries[h.find(0, func(e vault.Entry) bool { return e.Lock != nil })])
	if err != nil {
		t.Fatal(err)
	}
	_, instance := lock.Touches()
	add("lock", "ok", "request", vault.Request{Lock: &vault.LockAsk{Agreement: lock.Lock.Agreement, Acceptances: lock.Lock.Acceptances}})
	add("to lock", "ok", "reply", vault.Reply{Locked: &vault.LockedReply{Instance: instance}})
	for _, x := range h.said {
		what := asks(x.request)
		if x.request.Fetch != nil && x.request.Fetch.Step > 0 {
			what = "fetch of a step"
		}
		if kinds[what] {
			continue
		}
		kinds[what] = true
		add(what, "ok", "request", x.request)
		add("to "+what, "ok", "reply", x.reply)
	}
	if want := reflect.TypeFor[vault.Request]().NumField() + 1; len(kinds) != want {
		t.Errorf("%d kinds of requests were said, want %d: %v", len(kinds), want, kinds)
	}
	add("refused", "ok", "reply", vault.Reply{Refused: &vault.Refused{Reason: "not yet"}})
	stored := vault.StoredAsk{Step: 13}
	add("nothing asked", "error: asks 0 things", "request", vault.Request{})
	add("two things asked", "error: asks 2 things", "request", vault.Request{Stored: &stored, Fetch: &vault.Fetch{Step: 13}})
	good, err := wire.Marshal(vault.Request{Stored: &stored})
	if err != nil {
		t.Fatal(err)
	}
	bad := func(name, want, kind string, b []byte) {
		made = append(made, messageVector{name, "error: " + want, kind, b})
	}
	bad("a byte too many", "extraneous", "request", append(slices.Clone(good), 0))
	bad("cut", "EOF", "request", good[:len(good)-1])
	bad("an unknown thing asked", "unknown field", "request", []byte{0xa1, 0x18, 0x63, 0xa0})
	bad("a step below zero", "cannot unmarshal", "request", []byte{0xa1, 0x08, 0xa1, 0x01, 0x20})
	bad("a reply with an empty list", "deterministic", "reply", []byte{0xa1, 0x04, 0x80})
	bad("an unknown reply", "unknown field", "reply", []byte{0xa1, 0x18, 0x63, 0xa0})
	vectors.Check(t, *update, "../spec/vectors/session/message.json", vectors.File[messageVector]{
		About: "Requests and replies, as vaults said them to the escrow's and heard them.", Cases: made,
	}, func(v messageVector) (string, string) { return v.Name, v.Expect }, func(v messageVector) error { return v.check(t) })
	for _, v := range made {
		if len(v.CBOR) > 1<<16 {
			t.Error(fmt.Errorf("%s has %d bytes: too large for a vector", v.Name, len(v.CBOR)))
		}
	}
}
