package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/client"
	"latchkey/client/clientpb"
	"latchkey/coin"
	"latchkey/devnet"
	"latchkey/rate"
)

// The story: who has what, and at which rates of the demo's own rate file.
var (
	demoClients = []string{"alice", "bob", "carol"}
	demoFunds   = map[string]devnet.Amount{"btc": "0.05", "eth": "2"}
	demoUSD     = map[string]string{"btc": "96400", "eth": "3120"}
)

// A demoRun tells the story while it happens.
type demoRun struct {
	out     io.Writer
	asJSON  bool
	started time.Time
	world   *devnet.World
	clients map[string]clientpb.ClientServiceClient

	before map[string]string // ordinary wallets at the beginning
	ids    map[string]string // vault ids

	mu     sync.Mutex
	events map[string][]*clientpb.Event
	seen   chan struct{} // one token: there is a new event
}

// line is one line of the timeline for programs.
type line struct {
	Seconds float64         `json:"t"` // since the start
	Who     string          `json:"who"`
	Kind    string          `json:"kind"`
	Text    string          `json:"text"`
	Event   *clientpb.Event `json:"event,omitempty"`
	Data    any             `json:"data,omitempty"` // the numbers in Text
}

func (d *demoRun) tell(who, kind, text string, e *clientpb.Event) { d.print(who, kind, text, e, nil) }

// figures tells what was counted or measured.
func (d *demoRun) figures(text string, data any) { d.print("", "summary", text, nil, data) }

func (d *demoRun) print(who, kind, text string, e *clientpb.Event, data any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := time.Since(d.started).Seconds()
	if d.asJSON {
		b, err := json.Marshal(line{t, who, kind, text, e, data})
		if err == nil {
			fmt.Fprintln(d.out, string(b))
		}
		return
	}
	if kind == "command" || kind == "process" { // to be copied from a terminal
		fmt.Fprintf(d.out, "  %s\n", text)
		return
	}
	fmt.Fprintf(d.out, "%7.2fs  %-8s %s\n", t, who, text)
}

func (d *demoRun) say(text string) { d.tell("", "progress", text, nil) }

func (d *demoRun) chapter(text string) {
	if d.asJSON {
		d.tell("", "chapter", text, nil)
		return
	}
	fmt.Fprintf(d.out, "\n%s\n", text)
}

func demo(ctx context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("demo", "latchkey demo starts two real chain nodes, a switchboard, an escrow, four witnesses and three clients on\nthis machine, each a process of its own, and has the clients exchange coins. Its TEEs are SIMULATED.", out)
	keep := f.Bool("keep", false, "leave the world running at the end, and print commands to play with it")
	asJSON := f.Bool("json", false, "print the timeline as JSON, a line each")
	folder := f.String("folder", "", "folder of the world; new or empty (default: a temporary one)")
	only := f.Int("act", 0, "play this act alone, with what it needs before (default: all)")
	bin := f.String("bin", "", "folder of the built programs (default: bin in the project)")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *only < 0 || *only > len(acts) {
		return &hinted{fmt.Errorf("%w: demo: there is no act %d", errUsage, *only), fmt.Sprintf("acts are 1 to %d", len(acts))}
	}
	root, err := devnet.Root()
	if err != nil {
		return &hinted{err, "cd to the clone of the project, then: go run ./cmd/latchkey demo"}
	}
	if *bin == "" {
		*bin = filepath.Join(root, "bin")
	}
	if *folder == "" {
		if *folder, err = os.MkdirTemp("", "latchkey-demo-"); err != nil {
			return err
		}
		if !*keep {
			defer os.RemoveAll(*folder)
		}
	} else if entries, err := os.ReadDir(*folder); err == nil && len(entries) > 0 {
		return &hinted{fmt.Errorf("folder %s is not empty", *folder), "name a new folder, or none"}
	}
	if *folder, err = filepath.Abs(*folder); err != nil {
		return err
	}
	d := &demoRun{
		out: out, asJSON: *asJSON, started: time.Now(), clients: map[string]clientpb.ClientServiceClient{},
		ids: map[string]string{}, events: map[string][]*clientpb.Event{}, seen: make(chan struct{}, 1),
	}
	if err := d.run(ctx, root, *bin, *folder, *only, *keep); err != nil {
		var h *hinted
		if !errors.As(err, &h) {
			err = &hinted{err, "the logs of all processes were in " + filepath.Join(*folder, "log") + "; with --keep or --folder they stay"}
		}
		return err
	}
	return nil
}

func (d *demoRun) run(ctx context.Context, root, bin, folder string, only int, keep bool) error {
	d.say("a world of its own on this machine; nothing leaves it, its coins are worth nothing")
	d.say("its TEEs are SIMULATED: they protect nothing, they only show what real ones would prove")
	if err := devnet.Build(ctx, root, bin, d.say); err != nil {
		return err
	}
	d.say("programs are built; starting the world in " + folder)
	d.started = time.Now()
	world, err := devnet.Start(ctx, devnet.Config{
		Folder: folder, Bin: bin, Root: root, Clients: demoClients, Funds: demoFunds, USD: demoUSD, Say: d.say,
	})
	if err != nil {
		return err
	}
	defer world.Stop()
	d.world = world
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	for _, name := range demoClients {
		c, err := client.Dial(world.Socket(name))
		if err != nil {
			return err
		}
		d.clients[name] = c
		watching.Go(func() { d.watch(watch, name, c) })
	}
	if err := d.play(ctx, only); err != nil {
		return err
	}
	if keep {
		if only == 0 || only == len(acts) {
			d.say("the witnesses' clocks are right again; until they catch up with what they said, 75 s, offers come to nothing")
		}
		d.commands(folder)
		<-ctx.Done()
		d.say("stopping the world, but for what was started again by a script: end that yourself. Its files stay in " + folder)
	}
	return nil
}

// watch follows a client's timeline and tells it.
func (d *demoRun) watch(ctx context.Context, name string, c clientpb.ClientServiceClient) {
	var after uint64
	for ctx.Err() == nil {
		r, err := c.Timeline(ctx, &clientpb.TimelineRequest{After: after, WaitMs: 10_000})
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		for _, e := range r.Events {
			after = e.Seq
			d.mu.Lock()
			d.events[name] = append(d.events[name], e)
			d.mu.Unlock()
			d.tell(name, e.Kind, d.text(e), e)
		}
		select {
		case d.seen <- struct{}{}:
		default:
		}
	}
}

// text is an event's text with its amount in coins and dollars.
func (d *demoRun) text(e *clientpb.Event) string {
	s := e.Text
	if e.Amount != "" && e.Asset != "" {
		s += ": " + d.worth(e.Asset, e.Amount)
	}
	for i, tx := range e.Txs {
		if i == 2 && len(e.Txs) > 3 {
			s += fmt.Sprintf(" … %d more", len(e.Txs)-2)
			break
		}
		s += " tx " + short(tx)
	}
	return s
}

func short(tx string) string {
	if len(tx) > 14 {
		return tx[:12] + "…"
	}
	return tx
}

var demoDecimals = map[string]int{"btc": 8, "eth": 18}

// worth prints an amount in coins and dollars.
func (d *demoRun) worth(asset, amount string) string {
	a, err := coin.ParseAmount(amount)
	p, perr := rate.ParsePrice(demoUSD[asset])
	if err != nil || perr != nil {
		return amount + " " + asset
	}
	c, err := p.Value(a, uint8(demoDecimals[asset]))
	if err != nil {
		return a.Decimal(demoDecimals[asset]) + " " + asset
	}
	return fmt.Sprintf("%s %s ($%d.%02d)", a.Decimal(demoDecimals[asset]), asset, c/100, c%100)
}

// wait waits until every client has n events of a kind.
func (d *demoRun) wait(ctx context.Context, what string, n int, kind string, who ...string) error {
	deadline := time.After(90 * time.Second)
	patience := time.NewTicker(5 * time.Second)
	defer patience.Stop()
	for {
		missing := ""
		d.mu.Lock()
		for _, name := range who {
			have := 0
			for _, e := range d.events[name] {
				if e.Kind == kind {
					have++
				}
			}
			if have < n {
				missing = name
			}
		}
		d.mu.Unlock()
		if missing == "" {
			return nil
		}
		select {
		case <-d.seen:
		case <-patience.C:
			d.say("still waiting for " + what + " of " + missing + d.why(ctx, missing))
		case <-deadline:
			return fmt.Errorf("%s of %s did not come within 90 s%s", what, missing, d.why(ctx, missing))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (d *demoRun) why(ctx context.Context, name string) string {
	s, err := d.clients[name].Status(ctx, &clientpb.StatusRequest{})
	if err != nil {
		return ": " + err.Error()
	}
	if len(s.Problems) == 0 {
		return ""
	}
	return ": " + strings.Join(s.Problems, "; ")
}

// balances returns each client's ordinary wallet, by "name asset".
func (d *demoRun) balances(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range demoClients {
		s, err := d.clients[name].Status(ctx, &clientpb.StatusRequest{})
		if err != nil {
			return nil, fmt.Errorf("status of %s: %w", name, err)
		}
		for _, b := range s.Balances {
			if b.Problem != "" {
				return nil, fmt.Errorf("wallet of %s: %s", name, b.Problem)
			}
			out[name+" "+b.Asset] = b.Confirmed
		}
	}
	return out, nil
}

// waitFunded waits until the faucets' payments are confirmed.
func (d *demoRun) waitFunded(ctx context.Context) (map[string]string, error) {
	for end := time.Now().Add(60 * time.Second); ; {
		b, err := d.balances(ctx)
		if err == nil && !slices.Contains(mapValues(b), "0") {
			return b, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("the faucets' payments did not arrive: %v, %w", b, err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func mapValues(m map[string]string) (out []string) {
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// commands prints how to play with the world.
func (d *demoRun) commands(folder string) {
	d.chapter("The world runs until you press ctrl-C. In another terminal, from the project's folder:")
	run := "go run ./cmd/latchkey"
	for _, c := range append([]string{
		fmt.Sprintf("%s status --client %s", run, d.world.Socket("alice")),
		fmt.Sprintf("%s timeline --follow --client %s", run, d.world.Socket("bob")),
		fmt.Sprintf("%s deposit --client %s --asset btc --usd 200", run, d.world.Socket("alice")),
		fmt.Sprintf("%s exchange --client %s --give btc --want eth --usd 100", run, d.world.Socket("alice")),
		fmt.Sprintf("%s receive --client %s --asset btc --usd 50", run, d.world.Socket("carol")),
		fmt.Sprintf("%s pay --client %s REQUEST", run, d.world.Socket("alice")),
		"kill -9 PID of any of the processes below, and start it again with the script beside it",
	}, d.world.Faucets()...) {
		d.tell("", "command", c, nil)
	}
	for _, p := range d.world.Processes {
		if pid, ok := p.Running(); ok {
			d.tell("", "process", fmt.Sprintf("%-12s pid %-7d %s", p.Name, pid, filepath.Join(folder, "run", p.Name+".sh")), nil)
		}
	}
}
