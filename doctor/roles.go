package doctor

import (
	"context"
	"crypto/rand"
	"os"
	"slices"
	"strings"
	"time"

	"latchkey/attest"
	"latchkey/attest/sim"
	"latchkey/client"
	"latchkey/coin"
	"latchkey/escrow"
	"latchkey/event/witness/config"
	"latchkey/gate"
	"latchkey/head"
	"latchkey/rate"
	"latchkey/switchboard"
	"latchkey/switchboard/switchboardpb"
	"latchkey/vault/enclave"
	vaultconfig "latchkey/vault/enclave/config"
	"latchkey/wallet"
)

func (e *exam) escrowRole(path string) {
	f, err := escrow.ReadFile(path)
	if !e.read(path, err) {
		return
	}
	e.folder(f.Data)
	e.socket("vault", f.Socket)
	trust := e.vaultCommand(f.Vault)
	if trust != nil {
		e.same("origin", f.Origin, trust.Origin)
		e.same("quorum", f.Quorum, trust.K)
		e.same("faulty", f.Faulty, trust.F)
		var ours, theirs []string
		for _, w := range f.Witnesses {
			ours = append(ours, w.Key.String())
		}
		for _, w := range trust.Witnesses {
			theirs = append(theirs, w.String())
		}
		slices.Sort(ours)
		slices.Sort(theirs)
		e.same("witnesses' keys", strings.Join(ours, " "), strings.Join(theirs, " "))
	}
	e.listen(f.Listen, f.TLS)
	e.admin(f.Admin)
	if !e.trust(f.Trust) {
		return
	}
	reached := 0
	for _, w := range f.Witnesses {
		if e.witnessAt(w.Key.Name(), w.URL, f.Origin) {
			reached++
		}
	}
	if reached < f.Quorum {
		e.fail("quorum", "bring witnesses back: docs/run.md, \"A lost witness\"", "%d of %d witnesses can be asked, %d are needed: the escrow stands still", reached, len(f.Witnesses), f.Quorum)
	} else if reached < len(f.Witnesses) {
		e.warn("quorum", "bring the others back: docs/run.md, \"A lost witness\"", "%d of %d witnesses can be asked, %d are needed", reached, len(f.Witnesses), f.Quorum)
	} else {
		e.ok("quorum", "all %d witnesses can be asked, %d are needed", reached, f.Quorum)
	}
}

// same compares a host's field with its vault's.
func (e *exam) same(field string, host, vault any) {
	if host != vault {
		e.fail("pins", "make the two files agree; the vault's counts, and it is bound to it from its first start on", "%s: the host's configuration says %v, the vault's %v", field, host, vault)
	}
}

func (e *exam) switchboardRole(path string) {
	s, err := switchboard.ReadFile(path)
	if !e.read(path, err) {
		return
	}
	e.folder(s.Data)
	e.listen(s.Listen, s.TLS)
	e.admin(s.Admin)
	e.policy(s.Trust)
	e.rates(s)
	if e.trust(s.Tables.Trust) {
		e.escrowAt(s.Escrow.URL, s.Escrow.Group(), &s.Trust)
	}
}

// rates asks all sources.
func (e *exam) rates(s switchboard.Settings) {
	clock := func() int64 { return e.now().Unix() }
	feed, err := rate.NewFeed(s.Rate, clock)
	if err != nil {
		e.fail("rates", "mend the table [rate]", "%v", err)
		return
	}
	for _, a := range s.Assets {
		observed := feed.Observe(e.ctx, a.ID)
		for _, o := range observed {
			if o.Problem != "" {
				e.warn("rates", "mend the source or take it out", "source %s of %s: %s", o.Source, a.ID, o.Problem)
			}
		}
		if r, err := rate.Combine(a.ID, observed, feed.Policy(), clock()); err != nil {
			e.fail("rates", "see to its sources; until then there is no new deposit and no fill in it", "%v", err)
		} else {
			e.ok("rates", "%s has a fresh rate of %s dollars", a.ID, r.Price)
		}
	}
}

func (e *exam) witnessRole(path string) {
	f, err := config.Read(path)
	if !e.read(path, err) {
		return
	}
	e.folder(f.Data)
	e.secretFile("key", f.KeyFile, "")
	if _, err := os.Stat(f.KeyFile); err == nil {
		if _, err := os.Stat(f.Data + "/state"); err != nil {
			e.fail("state", "docs/run.md, \"A lost witness\": witness adopt --lost-state", "the key %s is there and its state is not: it was lost", f.KeyFile)
		}
	}
	if len(f.Logs) == 0 {
		e.fail("logs", "list the key of each log that it is to countersign", "it serves no log")
	}
	e.listen(f.Listen, f.TLS)
	e.admin(f.Admin)
}

func (e *exam) clientRole(path string) {
	f, err := client.ReadFile(path)
	if !e.read(path, err) {
		return
	}
	e.folder(f.Data)
	e.socket("vault", f.Socket)
	if p, ok := strings.CutPrefix(f.Listen, "unix:"); ok {
		e.socket("listen", p)
	} else {
		e.listen(f.Listen, gate.TLS{})
	}
	e.admin(f.Admin)
	trust := e.vaultCommand(f.Vault)
	if !e.trust(f.Trust) {
		return
	}
	var group head.Group
	var policy *attest.Policy
	if trust != nil {
		group = head.Group{Log: trust.LogKey, Witnesses: trust.Witnesses, K: trust.K, F: trust.F}
		policy = &trust.Policy
		e.escrowAt(f.Escrow, group, policy)
	} else {
		e.meet("escrow", "the escrow at "+f.Escrow, f.Escrow)
	}
	var assets []coin.AssetID
	for _, w := range f.Wallets {
		e.wallet(w)
		assets = append(assets, w.Asset)
	}
	e.board(f.Switchboard, group.Log, assets)
}

// wallet asks a connector.
func (e *exam) wallet(w client.WalletEntry) {
	check := "wallet " + string(w.Asset)
	if w.Token != "" && !e.secretFile(check, w.Token, "put the connector's token there") {
		return
	}
	con, err := w.Dial(e.client)
	if err != nil {
		e.fail(check, "mend url and token_file", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	d, err := con.Describe(ctx)
	if err != nil {
		mend := "start the connector, or mend its url"
		if strings.Contains(err.Error(), "token") {
			mend = "set token_file to the connector's token"
		}
		e.fail(check, mend, "%s: %v", w.URL, err)
		return
	}
	i := slices.IndexFunc(d.Assets, func(a wallet.AssetInfo) bool { return a.Asset.ID == w.Asset })
	switch {
	case i < 0:
		e.fail(check, "name the connector of this asset", "%s at %s does not serve %s", d.Name, w.URL, w.Asset)
	case !d.Node.Reachable:
		e.fail(check, "start the node, or mend node in the connector's configuration", "%s answers, and its node does not: %s", d.Name, d.Node.Problem)
	default:
		own, err := w.TipAge()
		if err == nil {
			err = d.Follows(time.Now(), own)
		}
		if err != nil {
			e.fail(check, "until then the client believes nothing of it and pays nothing by it", "%v", err)
			return
		}
		e.ok(check, "%s answers for %s on %s, its node is at block %d", d.Name, w.Asset, d.Assets[i].Asset.Chain, d.Node.Height)
	}
}

// board asks the switchboard.
func (e *exam) board(url string, log head.LogKey, assets []coin.AssetID) {
	if _, _, ok := e.meet("switchboard", "the switchboard at "+url, url); !ok {
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	d, err := switchboard.NewClient(url, e.client, nil).Describe(ctx)
	if err != nil {
		e.fail("switchboard", "mend the URL: what answers there is no switchboard, or one that is starting", "%s: %v", url, err)
		return
	}
	if log != (head.LogKey{}) && d.EscrowLogKey != log.String() {
		e.fail("switchboard", "use a switchboard that trades chunks of your escrow", "it trades chunks of the escrow %s, your vault is bound to %s", d.EscrowLogKey, log)
		return
	}
	e.ok("switchboard", "%s trades chunks of the escrow of the configuration", d.Name)
	for _, p := range d.Problems {
		e.warn("switchboard", "its operator has to see to it", "it says: %s", p)
	}
	for _, a := range assets {
		i := slices.IndexFunc(d.Rates, func(r *switchboardpb.Rate) bool { return r.Asset == string(a) })
		switch {
		case i < 0:
			e.warn("switchboard", "take the wallet out, or use another switchboard", "%s is not traded there", a)
		case d.Rates[i].Problem != "":
			e.warn("rates", "its operator has to see to the sources; until then there is no new deposit and no fill", "%s", d.Rates[i].Problem)
		default:
			e.ok("rates", "the switchboard has a rate of %s that is %d s old", a, e.now().Unix()-d.Rates[i].At)
		}
	}
}

// vaultCommand looks at the vault that a host starts; nil: it is not known.
func (e *exam) vaultCommand(command []string) *enclave.Trust {
	program := e.program(command)
	if program == "" {
		return nil
	}
	i := slices.IndexFunc(command, func(s string) bool { return s == "--config" || s == "-config" })
	path := "vault.toml"
	if i >= 0 && i+1 < len(command) {
		path = command[i+1]
	}
	return e.vaultRole(path, program)
}

// vaultRole looks at a vault's configuration, and at the program if it is known.
func (e *exam) vaultRole(path, program string) *enclave.Trust {
	c, err := vaultconfig.Read(path)
	if err != nil {
		e.fail("vault", "mend the vault's configuration; docs/config.md lists all fields", "%v", err)
		return nil
	}
	e.ok("vault", "%s is the configuration of a vault in the role %s", path, c.Trust.Role)
	e.socket("vault", c.Socket)
	e.policy(c.Trust.Policy)
	if !e.secretFile("platform", c.Platform, "put the platform's file there; docs/run.md, \"Simulated platforms\"") {
		return &c.Trust
	}
	p, err := sim.OpenPlatform(c.Platform)
	if err != nil {
		e.fail("platform", "put a platform's file there; docs/run.md, \"Simulated platforms\"", "%v", err)
		return &c.Trust
	}
	if program == "" {
		return &c.Trust
	}
	if err := e.own(c.Trust.Policy, p, program); err != nil {
		e.fail("evidence", "all parties need one policy that names this very program and this platform's vendor", "the policy %s would refuse this vault itself, so others with the same policy will: %v", path, err)
	} else {
		e.ok("evidence", "the policy accepts this vault's program on this platform of %s", p.Vendor())
	}
	return &c.Trust
}

// own makes evidence of a program on a platform and appraises it, as others will.
func (e *exam) own(policy attest.Policy, p *sim.Platform, program string) error {
	m, err := sim.MeasureFile(program)
	if err != nil {
		return err
	}
	run, err := p.Launch(sim.Launch{Measurement: m})
	if err != nil {
		return err
	}
	var data [64]byte
	if _, err := rand.Read(data[:]); err != nil {
		return err
	}
	ev, err := run.Quote(data)
	if err != nil {
		return err
	}
	_, err = attest.Appraise(policy, []attest.Verifier{sim.Verifier{}}, ev, data, e.now().Unix())
	return err
}

// policy says what a policy switches off.
func (e *exam) policy(p attest.Policy) {
	if p.InsecureAllowSimulated {
		e.warn("policy", "none: there is no other platform yet; use coins that are worth nothing", "it accepts SIMULATED platforms, which protect nothing")
	}
	if p.InsecureAllowDebug {
		e.warn("policy", "take insecure_allow_debug out", "it accepts programs that their operators can read")
	}
	for _, r := range p.Rules {
		if r.MaxAge < int64(time.Hour/time.Second) {
			e.warn("policy", "set max_age to a day", "results of format %s hold for %d s only", r.Format, r.MaxAge)
		}
	}
}
