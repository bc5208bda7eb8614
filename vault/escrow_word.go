package vault

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"latchkey/key"
	"latchkey/wire"
)

// aheadMoves is how many chunks are refreshed beside the machine at most, for one word.
const aheadMoves = 16

// A Prepared is a party's word with the work that it brings and that neither reads the
// machine nor changes it: its signature is checked, its receipt is signed, the chunks that
// it would move now are refreshed. What other chunks it moves when it is decided are
// refreshed then.
type Prepared struct {
	word SignedWord
	hash wire.Hash
	do   func() // once

	unsigned  error // why it is not its party's
	receipt   Reply
	points    []key.Point // b·G of the chunks refreshed
	refreshed []key.Refreshed
}

// Do does the work, on any goroutine; who calls while another does it waits.
func (x *Prepared) Do() { x.do() }

// of returns the refreshes, if they are those of shares with these points.
func (x *Prepared) of(points []key.Point) []key.Refreshed {
	if x == nil || len(x.refreshed) == 0 || !slices.Equal(x.points, points) {
		return nil
	}
	return x.refreshed
}

// Prepare returns the work of a word that waits to be decided by Word: whoever calls has
// Do run beside the machine. It changes nothing. rnd is read by Do.
func (e *Escrow) Prepare(w SignedWord, rnd io.Reader) (*Prepared, error) {
	in, x, err := e.prepare(w)
	if err != nil {
		return nil, err
	}
	var olds []key.Share
	var points []key.Point
	if r, err := e.heard(in, w); err == nil && w.Body.Seq > in.seq[w.Body.Role] { // else nothing moves, unless the instance goes on before
		if ch, err := in.change(&r); err == nil && len(ch.moves) <= aheadMoves {
			for _, m := range ch.moves {
				c := e.chunks.at(m.chunk)
				olds, points = append(olds, c.share), append(points, c.b)
			}
		}
	}
	signatures := x.do
	x.do = sync.OnceFunc(func() {
		if signatures(); x.unsigned == nil && len(olds) > 0 {
			if r, err := key.Refresh(olds, points, rnd); err == nil { // else it is done again, and the error told
				x.points, x.refreshed = points, r
			}
		}
	})
	return x, nil
}

// prepare returns a word's instance, and the work of its signatures.
func (e *Escrow) prepare(w SignedWord) (*instance, *Prepared, error) {
	in, err := e.instanceOf(w.Body.Instance)
	if err != nil {
		return nil, nil, err
	}
	if int64(w.Body.Role) >= int64(len(in.deal.parties)) {
		return nil, nil, fmt.Errorf("instance %s has no party %d", in.id.Short(), w.Body.Role)
	}
	id, _ := e.identity(in.deal.parties[w.Body.Role])
	x := &Prepared{word: w}
	if x.hash, err = w.Hash(); err != nil {
		return nil, nil, err
	}
	sign, receipt := e.cfg.Sign, e.promise(x.hash)
	x.do = func() {
		if x.unsigned = w.Verify(id); x.unsigned == nil {
			receipt, x.unsigned = receipt.sign(sign)
			x.receipt = Reply{Receipt: &receipt}
		}
	}
	return in, x, nil
}

// Word decides a prepared word, as Handle does another.
func (e *Escrow) Word(x *Prepared, rnd io.Reader) (Answer, error) {
	in, err := e.instanceOf(x.word.Body.Instance) // it may be over since
	if err != nil {
		return Answer{}, err
	}
	if x.do(); x.unsigned != nil {
		return Answer{}, x.unsigned
	}
	return e.speak(in, x, func() {}, rnd)
}

// word prepares and decides a word at once. Its signatures are checked and made while
// the step that it asks for is planned.
func (e *Escrow) word(w SignedWord, rnd io.Reader) (Answer, error) {
	in, x, err := e.prepare(w)
	if err != nil {
		return Answer{}, err
	}
	var beside sync.WaitGroup
	beside.Go(x.do)
	return e.speak(in, x, beside.Wait, rnd)
}

// speak lets a party speak. The signature is the authority: any session may bring the
// word. The receipt leaves at once and promises the entry. A plan changes nothing, and
// counts for nothing if a signature, which is there after done, fails.
func (e *Escrow) speak(in *instance, x *Prepared, done func(), rnd io.Reader) (Answer, error) {
	var p plan
	var refused error
	role, seq := x.word.Body.Role, x.word.Body.Seq
	said := seq <= in.seq[role]
	if !said {
		var r Run
		if r, refused = e.heard(in, x.word); refused == nil {
			refused = e.runPrepared(&p, in, r, x, rnd)
		}
	}
	done()
	switch {
	case x.unsigned != nil:
		return Answer{}, x.unsigned
	case said && x.hash != in.said[role]: // a receipt would promise what will not be
		return Answer{}, fmt.Errorf("party %d has said word %d", role, in.seq[role])
	case said:
		return e.say(x.receipt, 0) // before
	case refused != nil:
		return Answer{}, refused
	}
	a, err := e.settle(p, x.receipt)
	a.Hold = 0
	return a, err
}

// heard is the step of an instance that a word asks for.
func (e *Escrow) heard(in *instance, w SignedWord) (Run, error) {
	if !in.open {
		return Run{}, fmt.Errorf("instance %s is not open: %w", in.id.Short(), ErrNotReady)
	}
	at, err := e.within(in)
	return Run{Kind: RunWord, Word: &w, EventAt: at}, err
}

// promise is a receipt that is not signed yet: a word is in the log in time.
func (e *Escrow) promise(word wire.Hash) Receipt {
	return Receipt{Word: word, By: e.clock + receiptTime}
}

// receipt is a promise, signed.
func (e *Escrow) receipt(word wire.Hash) (Reply, error) {
	r, err := e.promise(word).sign(e.cfg.Sign)
	return Reply{Receipt: &r}, err
}
