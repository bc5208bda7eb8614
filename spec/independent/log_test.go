package independent_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// An auditor follows a whole log by log.md. It does not run contracts: which
// chunk a step gives to whom, and when a phase ends, it takes from the entry.
type auditor struct {
	group     group
	size      uint64
	at        int64
	clock     uint64 // index of the newest Clock entry
	time      int64  // that it proves
	escrow    []byte // id
	keys      map[string][]byte
	digests   map[string][]byte
	pending   map[string]map[uint64]any // Generate entries
	born      map[string]int64          // their times
	certified map[string]bool
	chunks    map[string]*chunk
	instances map[string]*instance
}

type chunk struct {
	owner, instance string
	epoch           uint64
	b               value
	weight          uint64
	denomination    []byte
	expiry          int64
	last            uint64
	claimed, swept  bool
	cert            []byte // id
	index           int
	point           value
}

type instance struct {
	parties       []string
	depositor     map[string]string // by chunk
	inOrder       []string          // chunks, pot by pot
	given         map[string]bool
	handed, acked map[uint64]bool
	heard         map[uint64]uint64
	lockBy        int64
	last          uint64
	open, closed  bool
	settled       bool
	wait          int64  // of its pace; 0: atomic
	steps         uint64 // how many were given
	stepAt        int64  // when the newest was
	receiver      string // of the newest
	oracles       []any
	later         map[uint64]*later // pots that are filled later, by index
	waiting       []*deposit
}

// later is a pot that is filled later: what the agreement says of it, and how many
// chunks have come.
type later struct {
	denomination []byte
	weights      []uint64
	taken        int
}

// deposit is one that waits.
type deposit struct {
	entry         uint64 // index
	pot           uint64
	by            int64
	owner         string
	chunks        []string
	handed, acked bool
}

func newAuditor(g group) *auditor {
	return &auditor{
		group: g, keys: map[string][]byte{}, digests: map[string][]byte{}, pending: map[string]map[uint64]any{}, born: map[string]int64{},
		certified: map[string]bool{}, chunks: map[string]*chunk{}, instances: map[string]*instance{},
	}
}

var (
	errGap       = errors.New("gap")
	errDeviation = errors.New("deviation")
)

func deviation(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errDeviation, fmt.Errorf(format, args...))
}

func follows(last, prev uint64) error {
	if last != prev {
		return fmt.Errorf("%w: the newest is entry %d, this one follows %d", errGap, int64(last)-1, int64(prev)-1)
	}
	return nil
}

func one(v value) (string, error) {
	if l := v.([]any); len(l) == 1 {
		return string(l[0].([]byte)), nil
	}
	return "", deviation("not exactly one recipient")
}

func str(v value) string { return string(v.([]byte)) }

// take follows the next entry. After an error it is of no use.
func (a *auditor) take(raw []byte) error {
	at, kind, e, err := readEntry(raw)
	if err != nil {
		return err
	}
	if at < a.at || (a.size == 0) != (kind == 2) {
		return deviation("an entry of kind %d at %d, after %d", kind, at, a.at)
	}
	a.at, a.size = at, a.size+1
	switch kind {
	case 2:
		return a.genesis(e)
	case 3:
		id := str(hash("latchkey/identity/v1", encode(e[1])))
		a.keys[id], a.digests[id] = e[1].(map[uint64]any)[1].([]byte), e[3].([]byte)
	case 4:
		return a.generate(e)
	case 5:
		return a.certify(e)
	case 6:
		return a.lock(e)
	case 7, 8:
		if e[kind-3] != nil {
			return a.share(kind, e)
		}
		return a.role(kind, e)
	case 15:
		return a.deposit(e)
	case 9:
		return a.run(e)
	case 10, 12:
		return a.order(kind, e)
	case 13:
		_, time, err := a.group.counts(e[1].([]byte))
		if err != nil {
			return deviation("%w", err)
		}
		a.clock, a.time = a.size, time
	case 14:
		if a.pending[str(e[1])] == nil || a.at <= a.born[str(e[1])]+3600 {
			return deviation("dropped too early")
		}
		delete(a.pending, str(e[1]))
	}
	return nil
}

func (a *auditor) genesis(e map[uint64]any) error {
	i := e[3].(map[uint64]any)
	if e[1].(uint64) != 1 || e[2].(string) != a.group.log.name || !bytes.Equal(i[1].([]byte), a.group.log.public) || a.at != 0 {
		return deviation("genesis of another log")
	}
	a.escrow = hash("latchkey/identity/v1", encode(i))
	return nil
}

func (a *auditor) generate(e map[uint64]any) error {
	owner, err := one(e[1])
	if err != nil {
		return err
	}
	s, batch := e[3].(map[uint64]any), str(e[2])
	if err := checkDenomination(s[1].(map[uint64]any)); err != nil {
		return deviation("%w", err)
	}
	n, expiry := s[3].(uint64), number(s[4])
	if a.keys[owner] == nil || a.pending[batch] != nil || a.certified[batch] || n < 1 || n > 4096 || expiry < a.at+3600 || expiry > a.at+158_112_000 {
		return deviation("a batch that may not be begun")
	}
	mine := 0
	for _, p := range a.pending {
		if o, err := one(p[1]); err == nil && o == owner {
			mine++
		}
	}
	if mine >= 8 {
		return deviation("nine batches at once")
	}
	a.pending[batch], a.born[batch] = e, a.at
	return nil
}

// certify holds a certificate to the spec of its batch, and the root to the points.
func (a *auditor) certify(e map[uint64]any) error {
	c := e[1].(map[uint64]any)
	batch := str(c[6])
	g := a.pending[batch]
	points, bs := e[2].([]any), e[3].([]any)
	if g == nil || len(points) != len(bs) || uint64(len(points)) != c[4].(uint64) {
		return deviation("certificate of no batch, or of other points")
	}
	owner, err := one(g[1])
	if err != nil {
		return err
	}
	s := g[3].(map[uint64]any)
	want := map[uint64]any{
		1: uint64(1), 2: s[1], 3: s[2], 4: s[3], 5: rootOfKeys(points), 6: g[2], 7: g[1], 8: a.escrow,
		9:  map[uint64]any{1: []any{map[uint64]any{1: uint64(1), 2: g[1]}, map[uint64]any{1: uint64(2), 2: []any{a.escrow}}}, 2: uint64(2)},
		10: uint64(a.born[batch]), 11: s[4], 12: a.digests[owner], 13: c[13], 14: a.group.log.name,
	}
	if !bytes.Equal(encode(want), encode(c)) {
		return deviation("a certificate that does not follow from its batch")
	}
	id := hash("latchkey/certificate/v1", encode(c))
	for i := range points {
		chunkID := str(hash("latchkey/chunk/v1", binary.BigEndian.AppendUint32(bytes.Clone(id), uint32(i))))
		a.chunks[chunkID] = &chunk{
			owner: owner, b: bs[i], weight: s[2].(uint64), denomination: encode(s[1]), expiry: number(s[4]), last: a.size,
			cert: id, index: i, point: points[i],
		}
	}
	delete(a.pending, batch)
	a.certified[batch] = true
	return nil
}

// rootOfKeys is key.md's tree: its leaves are not entries.
func rootOfKeys(points []any) []byte {
	var leaves [][]byte
	for i, p := range points {
		b := p.([]byte)
		x := append([]byte("latchkey/key/leaf/v1"), b[0])
		leaves = append(leaves, append(binary.BigEndian.AppendUint32(x, uint32(i)), b[1:]...))
	}
	return rootOf(leaves)
}

func (a *auditor) lock(e map[uint64]any) error {
	g := e[1].(map[uint64]any)
	in := &instance{
		depositor: map[string]string{}, given: map[string]bool{}, handed: map[uint64]bool{}, acked: map[uint64]bool{}, heard: map[uint64]uint64{},
		later: map[uint64]*later{}, lockBy: number(g[6]), last: a.size,
	}
	for _, p := range g[3].([]any) {
		v, err := one(p)
		if err != nil {
			return err
		}
		if slices.Contains(in.parties, v) {
			return deviation("one vault is two parties")
		}
		in.parties = append(in.parties, v)
	}
	signed := e[2].([]any)
	if str(g[5]) != string(a.escrow) || g[7].(uint64) < 1 || g[7].(uint64) > 2 || (g[7].(uint64) == 2) != (g[8] != nil) || len(signed) != len(in.parties) || len(in.parties) > 16 || a.at >= in.lockBy || in.lockBy > a.at+86400 {
		return deviation("an agreement that may not be locked")
	}
	in.oracles, _ = g[9].([]any)
	if pace, ok := g[8].(map[uint64]any); ok {
		in.wait = int64(pace[4].(uint64))
		first, growth, most := pace[1].(uint64), pace[2].(uint64), pace[3].(uint64)
		if len(in.parties) != 2 || first < 1 || first > most || most > 1<<20 || growth < 100 || growth > 1000 || in.wait < 10 || in.wait > 604800 {
			return deviation("a pace out of range")
		}
	}
	agreed := hash("latchkey/agreement/v1", encode(g))
	var bodies []any
	for i, s := range signed {
		body := s.(map[uint64]any)[1].(map[uint64]any)
		if !bytes.Equal(body[1].([]byte), agreed) || body[2].(uint64) != uint64(i) {
			return deviation("an acceptance of something else")
		}
		if err := verify(a.keys[in.parties[i]], "latchkey/accept/v1", encode(body), s.(map[uint64]any)[2].([]byte)); err != nil {
			return deviation("%w", err)
		}
		bodies = append(bodies, body)
	}
	id := str(hash("latchkey/instance/v1", encode(bodies)))
	pots, prev := g[4].([]any), e[3].([]any)
	if a.instances[id] != nil || len(prev) != len(pots) {
		return deviation("an instance made twice, or the past of other pots")
	}
	denominations, _ := g[12].([]any)
	n := 0
	for i, pot := range pots {
		stakes := pot.([]any)
		if n += len(stakes); len(stakes) > 0 && str(stakes[0].(map[uint64]any)[1]) == string(make([]byte, 32)) {
			if len(denominations) == 0 {
				return deviation("a later pot of no denomination")
			}
			if err := in.agreeLater(uint64(i), stakes, prev[i].([]any), denominations[0].(map[uint64]any)); err != nil {
				return err
			}
			denominations = denominations[1:]
			continue
		}
		if err := a.lockPot(in, id, stakes, prev[i].([]any)); err != nil {
			return err
		}
	}
	if n < 1 || n > 1024 || len(denominations) > 0 {
		return deviation("%d chunks, %d denominations too many", n, len(denominations))
	}
	a.instances[id] = in
	return nil
}

// agreeLater takes what is agreed of a pot that is filled later: no chunk, no epoch, no past.
func (in *instance) agreeLater(pot uint64, stakes, prev []any, d map[uint64]any) error {
	if err := checkDenomination(d); err != nil {
		return deviation("%w", err)
	}
	if len(prev) != len(stakes) {
		return deviation("the past of other chunks")
	}
	l := &later{denomination: encode(d)}
	for j, s := range stakes {
		st := s.(map[uint64]any)
		if str(st[1]) != string(make([]byte, 32)) || st[2].(uint64) != 0 || prev[j].(uint64) != 0 {
			return deviation("a chunk in a pot that is filled later")
		}
		l.weights = append(l.weights, st[3].(uint64))
	}
	in.later[pot] = l
	return nil
}

// deposit follows chunks into a later pot. Who fills it this auditor does not know,
// for it does not read contracts: it takes the owner of the chunks for that.
func (a *auditor) deposit(e map[uint64]any) error {
	o, papers := e[1].(map[uint64]any), e[3].(map[uint64]any)
	id, pot, by := str(o[1]), o[2].(uint64), number(o[5])
	in := a.instances[id]
	if in == nil || !in.open || in.closed || in.later[pot] == nil || by <= a.at {
		return deviation("a deposit into no pot, or after its time")
	}
	if err := follows(in.last, e[5].(uint64)); err != nil {
		return err
	}
	named, shown, prev := o[3].([]any), papers[2].([]any), e[4].([]any)
	l := in.later[pot]
	if len(named) < 1 || len(named) > 256 || l.taken+len(named) > len(l.weights) || len(shown) != len(named) || len(prev) != len(named) {
		return deviation("a deposit of %d chunks with %d papers and the past of %d", len(named), len(shown), len(prev))
	}
	certs := map[string]map[uint64]any{}
	for _, m := range papers[1].([]any) {
		made := m.(map[uint64]any)
		c := made[1].(map[uint64]any)
		body, err := read(c[1].([]byte), certificate)
		if err != nil {
			return deviation("%w", err)
		}
		owner := made[2].(map[uint64]any)
		if str(hash("latchkey/identity/v1", encode(owner))) != str(body[7].([]any)[0]) {
			return deviation("a certificate of another owner")
		}
		if err := verify(owner[1].([]byte), "latchkey/certificate/v1/owner", c[1].([]byte), c[2].([]byte)); err != nil {
			return deviation("%w", err)
		}
		if err := verify(a.group.log.public, "latchkey/certificate/v1/escrow", c[1].([]byte), c[3].([]byte)); err != nil {
			return deviation("%w", err)
		}
		certs[str(hash("latchkey/certificate/v1", c[1].([]byte)))] = body
	}
	d := &deposit{entry: a.size, pot: pot, by: by}
	for i, x := range named {
		name, p := str(x.(map[uint64]any)[1]), shown[i].(map[uint64]any)
		c := a.chunks[name]
		if c == nil || !bytes.Equal(c.cert, p[1].([]byte)) || uint64(c.index) != p[2].(uint64) || !bytes.Equal(c.point.([]byte), p[3].([]byte)) || certs[str(p[1])] == nil {
			return deviation("papers of another chunk")
		}
		if err := a.inCertificate(certs[str(p[1])], p); err != nil {
			return err
		}
		if err := follows(c.last, prev[i].(uint64)); err != nil {
			return err
		}
		if d.owner == "" {
			d.owner = c.owner
		}
		if slices.Contains(d.chunks, name) || c.instance != "" || c.claimed || in.given[name] || c.epoch != x.(map[uint64]any)[2].(uint64) || c.weight != l.weights[l.taken+i] ||
			by >= c.expiry || c.owner != d.owner || !slices.Contains(in.parties, c.owner) || !bytes.Equal(c.denomination, l.denomination) {
			return deviation("a chunk that may not be deposited")
		}
		d.chunks = append(d.chunks, name)
	}
	if err := verify(a.keys[d.owner], "latchkey/deposit/v1", encode(o), e[2].([]byte)); err != nil {
		return deviation("%w", err)
	}
	for _, other := range in.waiting {
		if other.pot == pot {
			return deviation("two deposits of one pot wait")
		}
	}
	for _, name := range d.chunks {
		a.chunks[name].instance, a.chunks[name].last = id, a.size
		in.depositor[name] = d.owner
	}
	in.waiting, in.last = append(in.waiting, d), a.size
	return nil
}

// inCertificate checks the path of a chunk's key.
func (a *auditor) inCertificate(cert, p map[uint64]any) error {
	var path [][]byte
	for _, h := range p[4].([]any) {
		path = append(path, h.([]byte))
	}
	b := p[3].([]byte)
	x := append([]byte("latchkey/key/leaf/v1"), b[0])
	x = append(binary.BigEndian.AppendUint32(x, uint32(p[2].(uint64))), b[1:]...)
	if err := included(int64(cert[4].(uint64)), cert[5].([]byte), int64(p[2].(uint64)), x, path); err != nil {
		return deviation("%w", err)
	}
	return nil
}

// waits returns a deposit that waits, by the index of its entry.
func (in *instance) waits(entry uint64) *deposit {
	for _, d := range in.waiting {
		if d.entry == entry {
			return d
		}
	}
	return nil
}

// share follows the shares of a deposit, and who has them.
func (a *auditor) share(kind uint64, e map[uint64]any) error {
	in := a.instances[str(e[1])]
	if in == nil || !in.open || e[2].(uint64) >= uint64(len(in.parties)) {
		return deviation("shares of a deposit in no instance, or by no party")
	}
	if err := follows(in.last, e[3].(uint64)); err != nil {
		return err
	}
	d, party := in.waits(e[kind-3].(uint64)), in.parties[e[2].(uint64)]
	if d == nil || (kind == 7) != (party == d.owner) || kind == 7 && d.handed || kind == 8 && !d.handed {
		return deviation("shares of no deposit, by another party, or a second time")
	}
	if kind == 8 {
		body := map[uint64]any{1: e[1], 2: e[5]}
		if err := verify(a.keys[party], "latchkey/deposit-ack/v1", encode(body), e[4].([]byte)); err != nil {
			return deviation("%w", err)
		}
		d.acked = true
	}
	d.handed, in.last = true, a.size
	return nil
}

// counts ends the waiting of deposits: one that a step names counts, and those whose
// chunks go back do not. It returns those chunks.
func (a *auditor) counts(in *instance, kind uint64, e map[uint64]any) (back map[string]bool, err error) {
	back = map[string]bool{}
	if (kind == 9) != (e[12] != nil) {
		return nil, deviation("a step of kind %d with a deposit, or without", kind)
	}
	if kind == 9 {
		d := in.waits(e[12].(uint64))
		if d == nil || d.handed != d.acked || number(e[5]) != a.at || a.at > d.by {
			return nil, deviation("a deposit counts that does not wait, or is not acknowledged")
		}
		in.later[d.pot].taken += len(d.chunks)
		in.inOrder = append(in.inOrder, d.chunks...)
		in.waiting = slices.DeleteFunc(in.waiting, func(x *deposit) bool { return x == d })
	}
	first := int64(1) << 62
	for _, d := range in.waiting {
		first = min(first, d.by)
	}
	if kind == 10 && number(e[5]) != first {
		return nil, deviation("no deposit waits until %d", number(e[5]))
	}
	moved := map[string]bool{}
	for _, x := range e[7].([]any) {
		moved[str(x.(map[uint64]any)[1])] = true
	}
	over := 0
	in.waiting = slices.DeleteFunc(in.waiting, func(d *deposit) bool {
		gone := moved[d.chunks[0]] || e[8].(bool) || kind == 10 && d.by <= number(e[5])
		for _, c := range d.chunks {
			back[c] = gone
			if gone != moved[c] {
				err = deviation("a deposit that goes back in part, or does not")
			}
		}
		if gone && kind == 10 {
			over++
		}
		return gone
	})
	if err == nil && kind == 10 && (over == 0 || len(moved) != len(back)) {
		err = deviation("no deposit goes back, or something else does")
	}
	return back, err
}

func (a *auditor) lockPot(in *instance, id string, stakes, prev []any) error {
	if len(prev) != len(stakes) {
		return deviation("the past of other chunks")
	}
	var first *chunk
	for j, s := range stakes {
		st := s.(map[uint64]any)
		name := str(st[1])
		c := a.chunks[name]
		if c == nil {
			return deviation("an unknown chunk")
		}
		if err := follows(c.last, prev[j].(uint64)); err != nil {
			return err
		}
		if first == nil {
			first = c
		}
		if c.instance != "" || c.claimed || c.epoch != st[2].(uint64) || c.weight != st[3].(uint64) || in.lockBy >= c.expiry ||
			c.owner != first.owner || !slices.Contains(in.parties, c.owner) || !bytes.Equal(c.denomination, first.denomination) {
			return deviation("a chunk that may not be locked")
		}
		c.instance, c.last = id, a.size
		in.depositor[name] = c.owner
		in.inOrder = append(in.inOrder, name)
	}
	return nil
}

func (a *auditor) role(kind uint64, e map[uint64]any) error {
	in := a.instances[str(e[1])]
	if in == nil || in.open || e[2].(uint64) >= uint64(len(in.parties)) {
		return deviation("hand or ack in no instance, or by no party")
	}
	if err := follows(in.last, e[3].(uint64)); err != nil {
		return err
	}
	in.last = a.size
	done := in.handed
	if kind == 8 {
		done = in.acked
		if err := verify(a.keys[in.parties[e[2].(uint64)]], "latchkey/ack/v1", e[1].([]byte), e[4].([]byte)); err != nil {
			return deviation("%w", err)
		}
	}
	if done[e[2].(uint64)] {
		return deviation("a second time")
	}
	done[e[2].(uint64)] = true
	return nil
}

func (a *auditor) run(e map[uint64]any) error {
	in := a.instances[str(e[1])]
	if in == nil || in.settled {
		return deviation("a step of no instance, or after its end")
	}
	if err := follows(in.last, e[2].(uint64)); err != nil {
		return err
	}
	in.last = a.size
	kind, eventAt, w := e[3].(uint64), number(e[5]), e[4]
	if (kind == 2) != (w != nil) || in.open == (kind == 1 || kind == 4) || in.closed != (kind >= 5 && kind <= 7) || (kind == 8) != (e[11] != nil) || (kind == 5 || kind == 7) != (e[10] != nil) {
		return deviation("kind %d, open %t, closed %t", kind, in.open, in.closed)
	}
	switch kind {
	case 1:
		if eventAt != a.at || a.at > in.lockBy+2 {
			return deviation("opened at another time")
		}
	case 2:
		if err := a.word(in, str(e[1]), w.(map[uint64]any)); err != nil {
			return err
		}
		if eventAt > a.at || eventAt < a.at-2 {
			return deviation("a word of another time")
		}
	case 8:
		if err := a.report(in, str(e[1]), e[11].(map[uint64]any)); err != nil {
			return err
		}
		if eventAt > a.at || eventAt < a.at-2 {
			return deviation("a report of another time")
		}
	case 9:
		// what it must be, counts says
	case 3, 4, 10:
		if e[6].(uint64) != a.clock {
			return fmt.Errorf("%w: another clock", errGap)
		}
		if a.time < eventAt || kind == 4 && eventAt != in.lockBy {
			return deviation("fired early")
		}
	case 5, 7:
		if err := a.step(in, str(e[1]), kind == 7, e[10].(map[uint64]any)); err != nil {
			return err
		}
		if eventAt != a.at || a.at >= in.stepAt+in.wait+2 {
			return deviation("a word about a step that is over")
		}
	case 6:
		if e[6].(uint64) != a.clock {
			return fmt.Errorf("%w: another clock", errGap)
		}
		if eventAt != a.at || a.time < in.stepAt+in.wait {
			return deviation("lapsed early")
		}
	default:
		return deviation("kind %d", kind)
	}
	return a.moves(in, kind, e)
}

// report checks the values of an oracle: enough of its keys, in order, for one time.
func (a *auditor) report(in *instance, id string, r map[uint64]any) error {
	if str(r[1]) != id || r[2].(uint64) >= uint64(len(in.oracles)) {
		return deviation("a report of another instance or oracle")
	}
	q := in.oracles[r[2].(uint64)].(map[uint64]any)
	values, keys := r[3].([]any), q[2].([]any)
	if uint64(len(values)) < q[3].(uint64) || len(values) > len(keys) {
		return deviation("%d values", len(values))
	}
	next := 0 // of the keys
	for _, v := range values {
		s := v.(map[uint64]any)
		for next < len(keys) && str(keys[next]) != str(s[2]) {
			next++
		}
		body := s[1].(map[uint64]any)
		if next++; next > len(keys) || body[1] != q[1] || body[2] != values[0].(map[uint64]any)[1].(map[uint64]any)[2] {
			return deviation("a key that is not the oracle's, or twice, or of another time")
		}
		if err := verify(s[2].([]byte), "latchkey/oracle/v1", encode(body), s[3].([]byte)); err != nil {
			return deviation("%w", err)
		}
	}
	return nil
}

// moves follows the exits of a step, and whether it ends the instance.
func (a *auditor) moves(in *instance, kind uint64, e map[uint64]any) error {
	back := kind == 4 || kind == 7
	returned, err := a.counts(in, kind, e)
	if err != nil {
		return err
	}
	var left []string // what must go back, in this order
	for _, c := range in.inOrder {
		if !in.given[c] {
			left = append(left, c)
		}
	}
	for i, x := range e[7].([]any) {
		if back && (i >= len(left) || left[i] != str(x.(map[uint64]any)[1])) {
			return deviation("a return of other chunks")
		}
		name := str(x.(map[uint64]any)[1])
		to, err := a.exit(in, str(e[1]), back || returned[name], x.(map[uint64]any))
		if err != nil {
			return err
		}
		if returned[name] {
			delete(in.given, name) // it was never there
		}
		if to != in.depositor[str(x.(map[uint64]any)[1])] {
			in.receiver = to
		}
	}
	closed, settled := e[8].(bool), e[9].(bool)
	if settled != (closed && len(in.given) == len(in.inOrder)) || back && !settled || in.closed && !closed || closed && !settled && in.wait == 0 {
		return deviation("closed %t, settled %t with %d of %d chunks given", closed, settled, len(in.given), len(in.inOrder))
	}
	in.open, in.closed, in.settled = true, closed, settled
	in.steps, in.stepAt = in.steps+1, a.at
	return nil
}

// step checks the word about the newest step: its receiver is whom it gave a chunk
// that is not its own deposit.
func (a *auditor) step(in *instance, id string, failed bool, w map[uint64]any) error {
	body := w[1].(map[uint64]any)
	if str(body[1]) != id || body[2].(uint64) != in.steps || body[3].(bool) != failed {
		return deviation("a word about another step")
	}
	if err := verify(a.keys[in.receiver], "latchkey/step/v1", encode(body), w[2].([]byte)); err != nil {
		return deviation("%w", err)
	}
	return nil
}

func (a *auditor) word(in *instance, id string, w map[uint64]any) error {
	body := w[1].(map[uint64]any)
	role, seq := body[2].(uint64), body[3].(uint64)
	if str(body[1]) != id || role >= uint64(len(in.parties)) || seq <= in.heard[role] {
		return deviation("a word of another instance, of nobody, or said before")
	}
	in.heard[role] = seq
	if err := verify(a.keys[in.parties[role]], "latchkey/word/v1", encode(body), w[2].([]byte)); err != nil {
		return deviation("%w", err)
	}
	return nil
}

func (a *auditor) exit(in *instance, id string, back bool, x map[uint64]any) (to string, err error) {
	name := str(x[1])
	c := a.chunks[name]
	if to, err = one(x[2]); err != nil {
		return "", err
	}
	if c == nil || c.instance != id || in.given[name] || c.claimed || x[3].(uint64) != c.epoch+1 || !slices.Contains(in.parties, to) {
		return "", deviation("a chunk that is not in this instance, at another epoch, or to nobody")
	}
	if back && in.depositor[name] != to {
		return "", deviation("a return to another")
	}
	if err := follows(c.last, x[6].(uint64)); err != nil {
		return "", err
	}
	if !refreshes(c.b, x[4], x[5]) {
		return "", deviation("B is not R + new B")
	}
	in.given[name] = true
	c.owner, c.instance, c.epoch, c.b, c.last = to, "", c.epoch+1, x[5], a.size
	return to, nil
}

func (a *auditor) order(kind uint64, e map[uint64]any) error {
	owner, err := one(e[1])
	if err != nil {
		return err
	}
	o := e[2].(map[uint64]any)
	purpose := map[uint64]string{10: "latchkey/claim/v1", 12: "latchkey/swept/v1"}[kind]
	if err := verify(a.keys[owner], purpose, encode(o), e[3].([]byte)); err != nil {
		return deviation("%w", err)
	}
	named, prev := o[2].([]any), e[4].([]any)
	if str(o[1]) != string(a.escrow) || len(named) < 1 || len(named) > 1024 || len(prev) != len(named) {
		return deviation("an order of %d chunks with the past of %d", len(named), len(prev))
	}
	fresh := false
	seen := map[string]bool{}
	for i, x := range named {
		name := str(x.(map[uint64]any)[1])
		c := a.chunks[name]
		if c == nil || seen[name] || c.owner != owner || c.epoch != x.(map[uint64]any)[2].(uint64) || c.instance != "" {
			return deviation("a chunk that is not the owner's, or not free")
		}
		seen[name] = true
		if err := follows(c.last, prev[i].(uint64)); err != nil {
			return err
		}
		if kind == 10 && c.swept || kind == 12 && !c.claimed {
			return deviation("claimed after its sweep, or swept before its claim")
		}
		if kind == 10 {
			fresh, c.claimed = fresh || !c.claimed, true
		} else {
			fresh, c.swept = fresh || !c.swept, true
		}
		c.last = a.size
	}
	if !fresh {
		return deviation("an order that changes nothing")
	}
	return nil
}
