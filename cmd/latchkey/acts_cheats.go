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
	if err == nil || errors.Is(err, devnet.ErrCheated) {
		return fmt.Errorf("%s: %w: %w", what, devnet.ErrCheated, err)
	}
	if !strings.Contains(err.Error(), reason) {
		return fmt.Errorf("%s: it is not refused because %q: %w", what, reason, err)
	}
	d.tell("", "cheat", what, nil)
	d.tell("", "refused", "  refused: "+lastReason(err), nil)
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
	err = r.Claim(ctx, d.world.Escrow(), nil, first)
	return ids, d.refusedCheat("a modified host has the old copy of her vault claim it, which knows nothing of the lock", "the escrow refused: chunk "+first.Short()+": chunk is locked in instance", err)
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

// oldEpoch has the old copy of Alice's vault claim a chunk that went into the
// purchase and came back: its order names the epoch before.
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
	const nothing = "its vault decides, and lets nothing go: no quorum of witnesses has signed"
	before := second.Size()
	short, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { // that its vault has decided is durable; then it would have answered at once
		for second.Size() == before && short.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		stop(errors.New(nothing))
	}()
	err = r.Claim(short, second.Client(), note, passed)
	if short.Err() != nil && !errors.Is(err, devnet.ErrCheated) {
		err = context.Cause(short)
	}
	if err := d.refusedCheat("a second escrow, started from a copy of the first one's disk, is to release its share to that vault", nothing, err); err != nil {
		return err
	}
	return d.refusedCheat("its operator asks the witnesses to sign", "no quorum of witnesses: 0 of 3 cosignatures", second.Witness(ctx, d.world))
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
	var text strings.Builder
	err = d.until(ctx, "the proof", func() (string, error) {
		text.Reset()
		err := withheld(ctx, []string{"--client", d.world.Socket("bob"), "--trust", d.world.Trust("bob")}, &text, &text)
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
	for _, l := range strings.Split(strings.TrimSpace(text.String()), "\n") {
		if l != "" {
			d.tell("bob", "proof", l, nil)
		}
	}
	d.tell("bob", "refused", "latchkey withheld: "+errBroken.Error()+", and anybody with the keys can check it", nil)
	return nil
}
