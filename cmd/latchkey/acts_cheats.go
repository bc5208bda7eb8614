package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"latchkey/client/clientpb"
	"latchkey/devnet"
	"latchkey/wire"
)

// refusedCheat tells how a cheat was refused. A cheat that was not is an error, and
// so is one that came to nothing for another reason: it was not tried.
func (d *demoRun) refusedCheat(what, reason string, err error) error {
	if err := wantRefused(what, reason, err); err != nil {
		return err
	}
	d.tell("", "cheat", what, nil)
	d.tell("", "refused", "  refused: "+lastReason(err), nil)
	return nil
}

func wantRefused(what, reason string, err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w", what, devnet.ErrCheated)
	case errors.Is(err, devnet.ErrCheated):
		return fmt.Errorf("%s: %w", what, err)
	case !strings.Contains(err.Error(), reason):
		return fmt.Errorf("%s: it is not refused because %q: %w", what, reason, err)
	}
	return nil
}

// lastReason is an error in one line, without the ways of the call.
func lastReason(err error) string {
	s := strings.ReplaceAll(err.Error(), "\n", "; ")
	if i := strings.Index(s, "the escrow refused: "); i >= 0 {
		s = s[i:]
	}
	return s
}

// chunksIn returns a client's chunks in a state, those of btc.
func (d *demoRun) chunksIn(ctx context.Context, name, state string) (out []*clientpb.Chunk, err error) {
	s, err := d.clients[name].Status(ctx, &clientpb.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("status of %s: %w", name, plain(err))
	}
	for _, c := range s.Chunks {
		if c.State == state && c.Asset == "btc" {
			out = append(out, c)
		}
	}
	return out, nil
}

func chunkID(c *clientpb.Chunk) (id wire.ChunkID, err error) {
	err = id.UnmarshalText([]byte(c.Id))
	return id, err
}

// ready waits until a client's host, started again, answers and has its session.
func (d *demoRun) ready(ctx context.Context, name string) error {
	return d.until(ctx, name+" is back", func() (string, error) {
		s, err := d.clients[name].Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			return plain(err).Error(), nil
		}
		if s.Now == 0 {
			return "it does not know the time", nil
		}
		return "", nil
	})
}

// cheats is the seventh act.
func (d *demoRun) cheats(ctx context.Context) error {
	for _, x := range []struct{ who, asset string }{{"bob", "btc"}, {"carol", "btc"}, {"carol", "eth"}, {"alice", "btc"}} {
		if _, err := d.clients[x.who].Keep(ctx, &clientpb.KeepRequest{Asset: x.asset, Keep: true}); err != nil {
			return fmt.Errorf("%s: %w", x.who, plain(err))
		}
	}
	if err := d.stock(ctx); err != nil {
		return err
	}
	before, err := d.moved(ctx)
	if err != nil {
		return err
	}
	if err := d.cheat(ctx); err != nil {
		return err
	}
	after, err := d.moved(ctx)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("after the cheats: %w: the log and the chains had %+v, and have %+v", devnet.ErrCheated, before, after)
	}
	d.figures("on chain since the deposits, and claims in the escrow's log: nothing, whatever was tried", after)
	return nil
}

// moved is what a cheat would add to: claims that the escrow has logged, and
// transactions.
type moved struct {
	Claims       int `json:"claims"`
	Transactions int `json:"transactions"`
}

func (d *demoRun) moved(ctx context.Context) (moved, error) {
	claims, err := d.world.Claims(ctx)
	if err != nil {
		return moved{}, err
	}
	t, err := d.traffic(ctx)
	return moved{claims, count(t)}, err
}

// cheat plays the cheats one after the other. None of them moves anything.
func (d *demoRun) cheat(ctx context.Context) error {
	d.tell("", "progress", "Alice's host copies its disk, and Alice buys from Bob once more", nil)
	if err := d.world.Copy(ctx, "alice", "alice-copy"); err != nil {
		return err
	}
	if err := d.ready(ctx, "alice"); err != nil {
		return err
	}
	instance, err := d.purchase(ctx, 14, 5, false)
	if err != nil {
		return err
	}
	locked, err := d.locked(ctx)
	if err != nil {
		return err
	}
	back, err := d.award(ctx, instance)
	if err != nil {
		return err
	}
	if err := d.oldEpoch(ctx, locked, back); err != nil {
		return err
	}
	note, passed, err := d.passOn(ctx)
	if err != nil {
		return err
	}
	if err := d.passedOn(ctx, note, passed); err != nil {
		return err
	}
	return d.withholding(ctx)
}

// locked has Alice's host claim a chunk that is locked: from her vault, and from an
// old copy of it that does not know of the lock. It returns the chunks.
func (d *demoRun) locked(ctx context.Context) (map[wire.ChunkID]bool, error) {
	list, err := d.chunksIn(ctx, "alice", "locked")
	if err != nil || len(list) == 0 {
		return nil, fmt.Errorf("alice has no locked chunk: %w", err)
	}
	ids := map[wire.ChunkID]bool{}
	for _, c := range list {
		id, err := chunkID(c)
		if err != nil {
			return nil, err
		}
		ids[id] = true
	}
	first, err := chunkID(list[0])
	if err != nil {
		return nil, err
	}
	_, err = d.clients["alice"].Claim(ctx, &clientpb.ClaimRequest{Chunks: []string{list[0].Id}})
	if err := d.refusedCheat("Alice's host claims a chunk that is locked in the purchase", "chunk is locked in instance", plain(err)); err != nil {
		return nil, err
	}
	r, err := d.world.RogueHost(ctx, "alice", "alice-copy")
	if err != nil {
		return nil, err
	}
	defer r.Close()
	const what = "a modified host has the old copy of her vault claim it, which knows nothing of the lock"
	tried := func(id wire.ChunkID) (why string, err error) {
		return "the escrow refused: chunk " + id.Short() + ": chunk is locked in instance", r.Claim(ctx, d.world.Escrow(), nil, id)
	}
	why, err := tried(first)
	if err := d.refusedCheat(what, why, err); err != nil {
		return nil, err
	}
	for id := range ids { // an order for each: one of them is replayed later
		if id == first {
			continue
		}
		if why, err = tried(id); wantRefused(what, why, err) != nil {
			return nil, wantRefused(what, why, err)
		}
	}
	return ids, nil
}

// award ends a purchase and returns what came back to Alice of the chunks that
// were locked in it.
func (d *demoRun) award(ctx context.Context, instance string) (back []*clientpb.Chunk, err error) {
	owned := d.have("alice", "owned")
	bobs := d.have("bob", "owned")
	if _, err := d.clients["bob"].Say(ctx, &clientpb.SayRequest{Instance: instance, Word: "dispute"}); err != nil {
		return nil, fmt.Errorf("bob: %w", plain(err))
	}
	err = d.until(ctx, "Carol may judge", func() (string, error) {
		if _, err := d.clients["carol"].Say(ctx, &clientpb.SayRequest{Instance: instance, Word: "award", Value: 50, HasValue: true}); err != nil {
			return plain(err).Error(), nil
		}
		return "", nil
	})
	if err == nil {
		err = errors.Join(d.after(ctx, "alice", "owned", owned), d.after(ctx, "bob", "owned", bobs))
	}
	if err != nil {
		return nil, err
	}
	return d.chunksIn(ctx, "alice", "held")
}

// oldEpoch has the old copy of Alice's vault bring an order once more that was
// refused while its chunk was locked, to the byte. The chunk came back by now, at the
// next epoch.
func (d *demoRun) oldEpoch(ctx context.Context, locked map[wire.ChunkID]bool, back []*clientpb.Chunk) error {
	for _, c := range back {
		id, err := chunkID(c)
		if err != nil {
			return err
		}
		if !locked[id] {
			continue
		}
		r, err := d.world.RogueHost(ctx, "alice", "alice-copy")
		if err != nil {
			return err
		}
		defer r.Close()
		err = r.Claim(ctx, d.world.Escrow(), nil, id)
		return d.refusedCheat(fmt.Sprintf("an order of an old epoch is replayed: the chunk came back to Alice, at epoch %d by now", c.Epoch), fmt.Sprintf("another epoch: it is at %d, the order says %d", c.Epoch, c.Epoch-1), err)
	}
	return errors.New("nothing of the purchase came back to alice")
}

// passOn copies the disks of Bob and of the escrow, and then has Bob pay Carol. It
// returns the head that the witnesses had signed, and a chunk that Bob no longer
// owns.
func (d *demoRun) passOn(ctx context.Context) (note []byte, passed wire.ChunkID, err error) {
	fail := func(err error) ([]byte, wire.ChunkID, error) { return nil, wire.ChunkID{}, err }
	d.tell("", "progress", "the hosts of Bob and of the escrow copy their disks, then Bob pays Carol", nil)
	if err := d.world.Copy(ctx, "bob", "bob-copy"); err != nil {
		return fail(err)
	}
	if err := d.ready(ctx, "bob"); err != nil {
		return fail(err)
	}
	if note, err = d.world.CopyEscrow(ctx, "escrow-copy"); err != nil {
		return fail(err)
	}
	if err := d.world.Process("escrow").Start(ctx, nil); err != nil {
		return fail(err)
	}
	held, err := d.chunksIn(ctx, "bob", "held")
	if err != nil {
		return fail(err)
	}
	if err := d.hop(ctx, "bob", "carol", 20); err != nil {
		return fail(err)
	}
	left := map[string]bool{}
	rest, err := d.chunksIn(ctx, "bob", "held")
	if err != nil {
		return fail(err)
	}
	for _, c := range rest {
		left[c.Id] = true
	}
	for _, c := range held {
		if !left[c.Id] {
			passed, err = chunkID(c)
			return note, passed, err
		}
	}
	return fail(errors.New("bob has paid with nothing"))
}

// passedOn has the old copy of Bob's vault claim what he has passed on: at the
// escrow, and at a second escrow that knows as little as it does.
func (d *demoRun) passedOn(ctx context.Context, note []byte, passed wire.ChunkID) error {
	r, err := d.world.RogueHost(ctx, "bob", "bob-copy")
	if err != nil {
		return err
	}
	defer r.Close()
	err = r.Claim(ctx, d.world.Escrow(), nil, passed)
	if err := d.refusedCheat("Bob's vault, restored from an old copy, claims a chunk that it has passed on to Carol", "the escrow refused: chunk "+passed.Short()+": not the owner of this chunk", err); err != nil {
		return err
	}
	r.Close()
	if r, err = d.world.RogueHost(ctx, "bob", "bob-copy"); err != nil {
		return err
	}
	defer r.Close()
	second, err := d.world.Clone(ctx, "escrow-copy", "127.0.0.1:0", note)
	if err != nil {
		return err
	}
	defer second.Close()
	return d.second(ctx, r, second, note, passed)
}

// second has a second escrow's vault take the claim. It decides, and holds its share
// until the witnesses have signed, which they do not; nor does it take anything else
// for their word.
func (d *demoRun) second(ctx context.Context, r *devnet.RogueHost, second *devnet.Clone, note []byte, passed wire.ChunkID) error {
	const what = "a second escrow, started from a copy of the first one's disk, is to release its share to that vault"
	before := second.Size()
	short, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.Claim(short, second.Client(), note, passed) }()
	early := func(err error) error {
		if errors.Is(err, devnet.ErrCheated) {
			return fmt.Errorf("%s: %w", what, err)
		}
		return fmt.Errorf("%s: the claim has come to an end, and should wait for witnesses: %w", what, err)
	}
	err := d.until(ctx, "the second escrow's vault has decided", func() (string, error) {
		select {
		case err := <-ended:
			return "", early(err)
		default:
		}
		if second.Size() == before {
			return "its log has no claim", nil
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	own, err := second.Own(ctx)
	if err != nil {
		return err
	}
	d.tell("", "cheat", what, nil)
	err = second.Believe(ctx, own)
	if err := d.refusedCheat("its vault has logged the claim; its operator says that this head is witnessed", "no quorum of witnesses: 0 of 3 cosignatures", err); err != nil {
		return err
	}
	first, err := d.world.Escrow().Describe(ctx)
	if err != nil {
		return fmt.Errorf("escrow: %w", err)
	}
	err = second.Believe(ctx, first.Head)
	if err := d.refusedCheat("its operator brings the first escrow's newest head, which is", "is not a head that this escrow signed since it started", err); err != nil {
		return err
	}
	if err := d.refusedCheat("its operator asks the witnesses to sign", "is ahead, at size ", second.Witness(ctx, d.world)); err != nil {
		return err
	}
	select { // with what it was told, it would have answered at once
	case err := <-ended:
		return early(err)
	case <-time.After(500 * time.Millisecond):
	}
	d.tell("", "refused", "  so its share stays where it is: the claim has no answer", nil)
	return nil
}

// withholding has the escrow's operator take a word, give the receipt, and go on
// without the word; Bob proves it.
func (d *demoRun) withholding(ctx context.Context) (err error) {
	instance, err := d.purchase(ctx, 10, 0, false)
	if err != nil {
		return err
	}
	var bob wire.VaultID
	if err := bob.UnmarshalText([]byte(d.ids["bob"])); err != nil {
		return err
	}
	d.tell("", "cheat", "the escrow's operator takes Bob's word, gives the receipt, and goes on from a disk without the word", nil)
	x, err := d.world.Withhold(ctx, bob, "escrow-withheld")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.End(context.WithoutCancel(ctx))) }()
	receipts := d.have("bob", "receipt")
	if _, err := d.clients["bob"].Say(ctx, &clientpb.SayRequest{Instance: instance, Word: "dispute"}); err != nil {
		return fmt.Errorf("bob: %w", plain(err))
	}
	if err := d.after(ctx, "bob", "receipt", receipts); err != nil {
		return err
	}
	if err := x.RollBack(ctx); err != nil {
		return err
	}
	d.tell("", "progress", "so as not to wait, the clocks of the witnesses are set on by 75 s", nil)
	if err := x.Advance(ctx, 75*time.Second); err != nil {
		return err
	}
	group, err := trust(d.world.Trust("bob"))
	if err != nil {
		return err
	}
	var text strings.Builder
	err = d.until(ctx, "the proof", func() (string, error) {
		text.Reset()
		err := said(ctx, d.clients["bob"], group, "", false, &text, &text)
		switch {
		case errors.Is(err, errBroken):
			return "", nil
		case err != nil:
			return err.Error(), nil
		}
		return "no promise is broken yet", nil
	})
	if err != nil {
		return err
	}
	if n := strings.Count(text.String(), "PROOF that "); n != 1 || !strings.Contains(text.String(), "withheld the word \"dispute\" of party 1 in instance "+instance[:8]+":") {
		return fmt.Errorf("want a proof for the word that was withheld, and for none that was kept: %s", text.String())
	}
	for _, l := range strings.Split(strings.TrimSpace(text.String()), "\n") {
		if l != "" {
			d.tell("bob", "proof", l, nil)
		}
	}
	d.tell("bob", "refused", "latchkey withheld: "+errBroken.Error()+", and anybody with the keys can check it", nil)
	return nil
}
