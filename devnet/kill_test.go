package devnet

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/client/clientpb"
)

var (
	killSeconds = flag.Int("kill.seconds", 12, "TestKill: for how long processes are killed; each at least once")
	killPause   = flag.Duration("kill.pause", time.Second, "TestKill: for how long at most a process stays dead; within a minute, agreements run out of time")
	killSeed    = flag.Uint64("kill.seed", 1, "TestKill: seed of the choices")
	killKeep    = flag.Bool("kill.keep", false, "TestKill: leave the world's folder")
)

// vaultOf returns the vault that is the child of a host's process.
func vaultOf(host int) (pid int, ok bool) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", host))
	if err != nil {
		return 0, false
	}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(word); err == nil {
				return pid, true
			}
		}
	}
	return 0, false
}

// killer kills processes at random moments and starts them again.
type killer struct {
	t      *testing.T
	play   *play
	rnd    *rand.Rand
	mu     sync.Mutex
	down   map[string]bool
	killed map[string]int
	back   sync.WaitGroup
}

// kindOf names what a victim is, whoever it serves.
func (k *killer) kindOf(name string) string {
	for _, client := range k.play.world.Clients {
		switch name {
		case client:
			return "client's host"
		case client + "'s vault":
			return "client's vault"
		}
		if asset, ok := strings.CutPrefix(name, client+"-"); ok {
			return asset + " connector"
		}
	}
	return strings.TrimRight(name, "0123456789")
}

// kinds counts the kills of each kind of process. One that was never killed is a
// failure.
func (k *killer) kinds() map[string]int {
	out := map[string]int{}
	for _, name := range k.victims() {
		out[k.kindOf(name)] += k.killed[name]
	}
	for _, kind := range []string{
		"witness", "switchboard", "escrow", "escrow's vault", "client's host", "client's vault",
		"btc connector", "eth connector", "btc-node", "eth-node",
	} {
		if out[kind] == 0 {
			k.t.Errorf("no %s was killed", kind)
		}
	}
	return out
}

// victims are all processes, the hosts' vaults among them.
func (k *killer) victims() (out []string) {
	for _, p := range k.play.world.Processes {
		out = append(out, p.Name)
	}
	for _, host := range append([]string{"escrow"}, k.play.world.Clients...) {
		out = append(out, host+"'s vault")
	}
	return out
}

// kill kills one and reports whether it was there to be killed.
func (k *killer) kill(name string, pause time.Duration) bool {
	if host, ok := strings.CutSuffix(name, "'s vault"); ok {
		pid, up := k.play.world.Process(host).Running()
		if !up {
			return false
		}
		v, up := vaultOf(pid)
		return up && syscall.Kill(v, syscall.SIGKILL) == nil // its host starts it again
	}
	k.mu.Lock()
	busy := k.down[name]
	k.down[name] = true
	k.mu.Unlock()
	if busy {
		return false
	}
	p := k.play.world.Process(name)
	if err := p.Kill(); err != nil {
		k.t.Errorf("kill %s: %v", name, err)
	}
	k.back.Go(func() {
		time.Sleep(pause)
		if err := p.Start(context.WithoutCancel(k.t.Context()), nil); err != nil {
			k.t.Errorf("start %s again: %v", name, err)
		}
		k.mu.Lock()
		delete(k.down, name)
		k.mu.Unlock()
	})
	return true
}

// maxDead is how many processes are dead at a time: with more, nothing happens that
// a kill could disturb.
const maxDead = 3

func (k *killer) dead() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.down)
}

// run kills until ctx ends and each was killed once.
func (k *killer) run(ctx context.Context) {
	all := k.victims()
	next := slices.Clone(all)
	for !k.t.Failed() && (ctx.Err() == nil || len(k.killed) < len(all)) {
		if len(next) == 0 {
			next = slices.Clone(all)
		}
		for k.dead() >= maxDead {
			time.Sleep(50 * time.Millisecond)
		}
		i := k.rnd.IntN(len(next))
		name := next[i]
		next = slices.Delete(next, i, i+1)
		if k.kill(name, time.Duration(k.rnd.Int64N(int64(*killPause)))) {
			k.killed[name]++
		} else if k.killed[name] == 0 {
			next = append(next, name)
		}
		time.Sleep(time.Duration(100+k.rnd.IntN(700)) * time.Millisecond)
	}
}

// trade places offers both ways, and now and then a deposit, until ctx ends.
// Whoever is asked may be dead: the next time it is somebody else.
func trade(ctx context.Context, p *play, rnd *rand.Rand) {
	for ctx.Err() == nil {
		name := p.world.Clients[rnd.IntN(len(p.world.Clients))]
		give, want, role := "btc", "eth", uint32(0)
		if rnd.IntN(2) == 0 {
			give, want, role = want, give, 1
		}
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		if rnd.IntN(6) == 0 {
			_, _ = p.clients[name].Deposit(one, &clientpb.DepositRequest{Asset: give, UsdCents: 5_000})
		} else {
			_, _ = p.clients[name].Offer(one, &clientpb.OfferRequest{
				Give: give, Want: want, Role: role, UsdCents: uint64(5_000 + rnd.IntN(2)*5_000), PremiumBps: 200, GoodFor: 60,
			})
		}
		cancel()
		select {
		case <-time.After(time.Duration(rnd.IntN(400)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Every real process is killed at random moments of real exchanges and started
// again. At the end every coin is accounted for on chain.
func TestKill(t *testing.T) {
	p := start(t, *killKeep)
	rnd := rand.New(rand.NewPCG(*killSeed, 2))
	t.Logf("-kill.seed=%d", *killSeed)
	for _, name := range p.world.Clients {
		for _, asset := range []string{"btc", "eth"} {
			if _, err := p.clients[name].Deposit(t.Context(), &clientpb.DepositRequest{Asset: asset, UsdCents: 20_000}); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(*killSeconds)*time.Second)
	defer cancel()
	k := &killer{t: t, play: p, rnd: rnd, down: map[string]bool{}, killed: map[string]int{}}
	trading, stop := context.WithCancel(t.Context())
	traded := make(chan struct{})
	other := rand.New(rand.NewPCG(*killSeed, 1))
	go func() {
		defer close(traded)
		trade(trading, p, other)
	}()
	k.run(ctx)
	stop()
	<-traded
	k.back.Wait()
	if t.Failed() {
		return
	}
	n := 0
	for _, times := range k.killed {
		n += times
	}
	t.Logf("%d kills of %d processes: %v", n, len(k.killed), k.kinds())
	p.cancelAll(t)
	p.rest(t, "available", "held", "swept")
	p.claimAll(t)
	l := audit(t.Context(), t, p.world, p)
	if l.settled == 0 || l.kinds["Claim"] == 0 {
		t.Errorf("%d exchanges were settled with %d claims: nothing was put to the test", l.settled, l.kinds["Claim"])
	}
	for _, name := range p.world.Clients {
		kinds := map[string]int{}
		for _, e := range p.events(t.Context(), t, name) {
			kinds[e.Kind]++
			if e.Kind == "problem" {
				t.Errorf("%s: %s", name, e.Text)
			}
		}
		t.Logf("%s: %v", name, kinds)
	}
}
