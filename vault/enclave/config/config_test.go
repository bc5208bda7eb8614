package config

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/attest"
	"latchkey/attest/policyfile"
	"latchkey/attest/sim"
	"latchkey/head"
	"latchkey/wire"
)

// folder writes a policy and returns a good configuration beside it.
func folder(t *testing.T) (dir, good string) {
	t.Helper()
	dir = t.TempDir()
	p := sim.InsecurePolicy([]attest.Root{{Vendor: "SIMULATED A", Key: wire.Hash{1}}}, sim.Build("vault", [32]byte{1}))
	b, err := policyfile.Format(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.toml"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	public := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	log, err := head.NewLogKey("escrow.test/log", public)
	if err != nil {
		t.Fatal(err)
	}
	witness, err := head.NewWitnessKey("witness.test/1", public)
	if err != nil {
		t.Fatal(err)
	}
	return dir, `role = "owner"
socket = "vault.sock"
platform = "platform.toml"
policy = "policy.toml"
origin = "escrow.test/log"
log_key = "` + log.String() + `"
witnesses = ["` + witness.String() + `"]
quorum = 1
faulty = 0
`
}

func TestRead(t *testing.T) {
	dir, good := folder(t)
	path := filepath.Join(dir, "vault.toml")
	read := func(text string) (Config, error) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Read(path)
	}
	c, err := read(good)
	if err != nil {
		t.Fatal(err)
	}
	if c.Socket != filepath.Join(dir, "vault.sock") || c.Trust.K != 1 || c.Trust.LogKey.Name() != "escrow.test/log" || len(c.Trust.Policy.Rules) != 1 {
		t.Errorf("read as %+v", c)
	}
	set := func(field, value string) string {
		var out []string
		for _, l := range strings.Split(good, "\n") {
			if strings.HasPrefix(l, field+" ") {
				if l = field + " = " + value; value == "" {
					continue
				}
			}
			out = append(out, l)
		}
		return strings.Join(out, "\n")
	}
	for _, x := range []struct{ name, text, want string }{
		{"an unknown field", good + "colour = 1\n", `line 10: unknown field "colour"`},
		{"a table that is unknown", good + "[escrow]\nurl = 'x'\n", "unknown field"},
		{"no role", set("role", ""), `"role" is missing`},
		{"no socket", set("socket", ""), `"socket" is missing`},
		{"no platform", set("platform", ""), `"platform" is missing`},
		{"no policy", set("policy", ""), `"policy" is missing`},
		{"no origin", set("origin", ""), `"origin" is missing`},
		{"no log key", set("log_key", ""), `"log_key" is missing`},
		{"no witnesses", set("witnesses", ""), `"witnesses" is missing`},
		{"an empty list of witnesses", set("witnesses", "[]"), `"witnesses" is missing`},
		{"a snapshot before it begins", good + "snapshot_every = -1\n", `"snapshot_every" is -1`},
		{"no quorum", set("quorum", ""), `"quorum" is missing`},
		{"a log key that is none", set("log_key", `"escrow.test/log+00000000+AAAA"`), "log_key"},
		{"a witness key that is none", set("witnesses", `["garbage"]`), "witnesses"},
		{"a number as a name", set("role", "7"), "role"},
		{"a policy that is not there", set("policy", `"none.toml"`), "none.toml"},
		{"a policy that is none", set("policy", `"vault.toml"`), "policy"},
		{"no TOML", "role = ", "vault.toml: line 1: "},
		{"a text without an end", good + "colour = \"\n", "line 10: "},
		{"nothing", "", `"role" is missing`},
	} {
		_, err := read(x.text)
		if err == nil || !strings.Contains(err.Error(), x.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q and the file's name", x.name, err, x.want)
		}
	}
	if _, err := Read(filepath.Join(dir, "absent.toml")); err == nil || !strings.Contains(err.Error(), "absent.toml") {
		t.Errorf("no file: %v", err)
	}
	// An escrow makes its own log key.
	if c, err := read(strings.Replace(set("log_key", ""), `"owner"`, `"escrow"`, 1)); err != nil || c.Trust.Role != "escrow" {
		t.Errorf("an escrow: %v", err)
	}
}

// Whatever is in a configuration, it is read or refused by one line.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "role = 7", "role = \"owner\"\nquorum = 1\n", "witnesses = [\"\"]", "log_key = \"\"", "policy = \"\x00\"", "\xff"} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parse(b, dir); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", b, err)
		}
	})
}
