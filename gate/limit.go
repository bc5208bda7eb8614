package gate

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Limits bound what one caller may ask for. Zero is the default of each.
type Limits struct {
	AddressRate        float64 `toml:"address_rate,omitempty" comment:"requests a second of one address (IPv6: of one /64); default 200"`
	AddressBurst       int     `toml:"address_burst,omitempty" comment:"so many at once; default 2000"`
	StrangerRate       float64 `toml:"stranger_rate,omitempty" comment:"of them, those that anybody may make and that cost the most: enrolling, greeting; default 2"`
	StrangerBurst      int     `toml:"stranger_burst,omitempty" comment:"so many at once; default 50"`
	VaultRate          float64 `toml:"vault_rate,omitempty" comment:"requests a second of one enrolled vault; default 100"`
	VaultBurst         int     `toml:"vault_burst,omitempty" comment:"so many at once; default 1000"`
	Waiting            int     `toml:"waiting,omitempty" comment:"requests to the escrow's vault that are not answered yet; default 8192"`
	VaultWaiting       int     `toml:"vault_waiting,omitempty" comment:"of one vault, which never has more than an eighth of what is left; default 1000"`
	DeviceVaults       int     `toml:"device_vaults,omitempty" comment:"vaults of one device that may enrol, with an escrow or a switchboard; default 100"`
	DeviceChunks       int     `toml:"device_chunks,omitempty" comment:"chunks that vaults of one device may make at an escrow, ever; default 250000"`
	Connections        int     `toml:"connections,omitempty" comment:"open connections; default 4096"`
	AddressConnections int     `toml:"address_connections,omitempty" comment:"of one address; default 256"`
	Body               int64   `toml:"body,omitempty" comment:"bytes of one request; default 4 MiB"`
	HeaderSeconds      int     `toml:"header_seconds,omitempty" comment:"for a request's header to arrive; default 10"`
	RequestSeconds     int     `toml:"request_seconds,omitempty" comment:"for a whole request, a wait for news of up to 30 s included; default 60, at least 40"`
	IdleSeconds        int     `toml:"idle_seconds,omitempty" comment:"for which an idle connection is kept; default 120"`
}

func (l Limits) check() error {
	for _, x := range []struct {
		name  string
		value float64
		most  float64
	}{
		{"address_rate", l.AddressRate, 1e6}, {"address_burst", float64(l.AddressBurst), 1e6}, {"stranger_rate", l.StrangerRate, 1e6},
		{"stranger_burst", float64(l.StrangerBurst), 1e6}, {"vault_rate", l.VaultRate, 1e6}, {"vault_burst", float64(l.VaultBurst), 1e6},
		{"waiting", float64(l.Waiting), 1e6}, {"vault_waiting", float64(l.VaultWaiting), 1e6}, {"device_vaults", float64(l.DeviceVaults), 1e6},
		{"device_chunks", float64(l.DeviceChunks), 1e9},
		{"connections", float64(l.Connections), 1e6}, {"address_connections", float64(l.AddressConnections), 1e6},
		{"body", float64(l.Body), 1 << 30}, {"header_seconds", float64(l.HeaderSeconds), 300},
		{"request_seconds", float64(l.RequestSeconds), 3600}, {"idle_seconds", float64(l.IdleSeconds), 3600},
	} {
		if !(x.value >= 0 && x.value <= x.most) { // NaN is neither
			return fmt.Errorf("limits.%s is %v, want 0 (the default) to %v", x.name, x.value, x.most)
		}
	}
	if l.RequestSeconds > 0 && l.RequestSeconds < 40 {
		return fmt.Errorf("limits.request_seconds is %d, want at least 40: callers wait for news for half a minute", l.RequestSeconds)
	}
	return nil
}

func or[T int | int64 | float64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// withDefaults fills in what is left out.
func (l Limits) withDefaults() Limits {
	return Limits{
		AddressRate: or(l.AddressRate, 200), AddressBurst: or(l.AddressBurst, 2000),
		StrangerRate: or(l.StrangerRate, 2), StrangerBurst: or(l.StrangerBurst, 50),
		VaultRate: or(l.VaultRate, 100), VaultBurst: or(l.VaultBurst, 1000),
		Waiting: or(l.Waiting, 8192), VaultWaiting: or(l.VaultWaiting, 1000), DeviceVaults: or(l.DeviceVaults, 100), DeviceChunks: or(l.DeviceChunks, 250_000),
		Connections: or(l.Connections, 4096), AddressConnections: or(l.AddressConnections, 256),
		Body: or(l.Body, 4<<20), HeaderSeconds: or(l.HeaderSeconds, 10),
		RequestSeconds: or(l.RequestSeconds, 60), IdleSeconds: or(l.IdleSeconds, 120),
	}
}

// maxBuckets bounds the callers that are remembered at a time.
const maxBuckets = 1 << 16

// A bucket has so many requests left, as of a time.
type bucket struct {
	left float64
	at   time.Time
}

// Buckets hold every caller to a rate. Any goroutine may use them.
type Buckets struct {
	rate, burst float64
	now         func() time.Time

	mu sync.Mutex
	of map[string]bucket
}

// NewBuckets returns buckets of burst requests that fill up again at rate a
// second, by a clock.
func NewBuckets(rate float64, burst int, now func() time.Time) *Buckets {
	return &Buckets{rate: rate, burst: float64(burst), now: now, of: map[string]bucket{}}
}

// Take takes one request of a caller's, or says how long it has to wait.
func (b *Buckets) Take(caller string) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	x, known := b.of[caller]
	if !known {
		b.room(now)
		x = bucket{b.burst, now}
	}
	x = b.fill(x, now)
	if x.left >= 1 {
		x.left--
	} else {
		wait = time.Duration(math.Ceil((1 - x.left) / b.rate * float64(time.Second)))
	}
	b.of[caller] = x
	return wait
}

func (b *Buckets) fill(x bucket, now time.Time) bucket {
	if d := now.Sub(x.at).Seconds(); d > 0 {
		x.left = min(b.burst, x.left+d*b.rate)
	}
	x.at = now
	return x
}

// room makes room for one more: whoever has a full bucket is forgotten without a
// loss; where nobody has, some are forgotten all the same, so that a flood of
// addresses costs no memory and keeps nobody out.
func (b *Buckets) room(now time.Time) {
	if len(b.of) < maxBuckets {
		return
	}
	for k, x := range b.of {
		if b.fill(x, now).left >= b.burst {
			delete(b.of, k)
		}
	}
	for k := range b.of {
		if len(b.of) < maxBuckets*3/4 {
			return
		}
		delete(b.of, k)
	}
}

// A Guard holds callers to Limits, and counts what it lets pass and what not.
type Guard struct {
	Limits
	addresses, strangers, vaults *Buckets

	mu      sync.Mutex
	passed  uint64
	refused map[string]uint64 // by kind
	open    map[string]int    // connections by address
	all     int
	places  map[string]int // taken, by vault
	taken   int            // of all
}

// NewGuard returns a guard with these limits, by a clock.
func NewGuard(l Limits, now func() time.Time) *Guard {
	l = l.withDefaults()
	return &Guard{
		Limits:    l,
		addresses: NewBuckets(l.AddressRate, l.AddressBurst, now),
		strangers: NewBuckets(l.StrangerRate, l.StrangerBurst, now),
		vaults:    NewBuckets(l.VaultRate, l.VaultBurst, now),
		refused:   map[string]uint64{}, open: map[string]int{}, places: map[string]int{},
	}
}

// Kinds of refusals, as metrics have them.
const (
	RefusedAddress    = "address"
	RefusedStranger   = "stranger"
	RefusedVault      = "vault"
	RefusedWaiting    = "waiting"
	RefusedDevice     = "device"
	RefusedConnection = "connection"
	RefusedBody       = "body"
)

// Refuse counts a refusal.
func (g *Guard) Refuse(kind string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused[kind]++
}

// A LimitError says that a caller asks too often, or what else is too much, and when
// it may ask again.
type LimitError struct {
	Who  string
	What string // empty: asks too often
	Wait time.Duration
}

func (e *LimitError) Error() string {
	what := e.What
	if what == "" {
		what = "asks too often"
	}
	return fmt.Sprintf("%s %s; ask again in %d s", e.Who, what, e.Seconds())
}

// Seconds is Wait in whole seconds, as Retry-After has it: at least 1.
func (e *LimitError) Seconds() int { return max(1, int(math.Ceil(e.Wait.Seconds()))) }

// Vault takes one request of a vault that has shown that it is the one, by name;
// the error is a *LimitError. A nil guard lets everything pass.
func (g *Guard) Vault(name string) error {
	if g == nil {
		return nil
	}
	if wait := g.vaults.Take(name); wait > 0 {
		g.Refuse(RefusedVault)
		return &LimitError{Who: "this vault", Wait: wait}
	}
	return nil
}

// waitAgain is when a place may be free.
const waitAgain = 2 * time.Second

// Place takes one of the places for requests that are not answered yet, for a vault,
// by name; leave gives it back, once. A vault gets no more when it has an eighth of
// those that are left: so many greedy ones leave some to one that comes anew (dynamic
// thresholds, Choudhury and Hahne 1998). The error is a *LimitError. A nil guard has a
// place for everybody.
func (g *Guard) Place(name string) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	n, left := g.places[name], g.Waiting-g.taken
	if n >= g.VaultWaiting || n > 0 && n >= left/8 || left <= 0 {
		g.refused[RefusedWaiting]++
		e := &LimitError{Who: "this vault", What: fmt.Sprintf("has %d requests that are not answered yet, and gets no place for more", n), Wait: waitAgain}
		if left <= 0 {
			e.Who, e.What = "the escrow", fmt.Sprintf("has %d requests that are not answered yet, and takes no more", g.taken)
		}
		return nil, e
	}
	g.places[name]++
	g.taken++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.taken--
		if g.places[name]--; g.places[name] == 0 {
			delete(g.places, name)
		}
	}, nil
}

// Handler puts the guard in front of h. stranger, which may be nil, says which
// requests anybody may make and cost the most.
func (g *Guard) Handler(h http.Handler, stranger func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := addressOf(r.RemoteAddr)
		wait, kind, what := g.addresses.Take(who), RefusedAddress, "this address"
		if wait == 0 && stranger != nil && stranger(r) {
			wait, kind, what = g.strangers.Take(who), RefusedStranger, "this address, before it has enrolled,"
		}
		if wait > 0 {
			g.Refuse(kind)
			tooMany(w, &LimitError{Who: what, Wait: wait})
			return
		}
		if r.ContentLength > g.Body {
			g.Refuse(RefusedBody)
			Answer(w, http.StatusRequestEntityTooLarge, "resource_exhausted", fmt.Sprintf("a request of %d bytes, at most %d are taken", r.ContentLength, g.Body))
			return
		}
		g.mu.Lock()
		g.passed++
		g.mu.Unlock()
		r.Body = http.MaxBytesReader(w, r.Body, g.Body)
		h.ServeHTTP(w, r)
	})
}

func tooMany(w http.ResponseWriter, e *LimitError) {
	w.Header().Set("Retry-After", strconv.Itoa(e.Seconds()))
	Answer(w, http.StatusTooManyRequests, "resource_exhausted", e.Error())
}

// Answer writes an error as callers by Connect read it, and people too.
func Answer(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": message}) // who has gone hears nothing
}

// addressOf is what counts as one address: an IPv4 address, a /64 of IPv6, or
// "local" for a Unix socket.
func addressOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return "local"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "local"
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		p, _ := ip.Prefix(64)
		return p.String()
	}
	return ip.String()
}
