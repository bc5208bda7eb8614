package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"latchkey/devnet"
	"latchkey/doctor"
	"latchkey/escrow"
	"latchkey/gate"
)

// errIll is why a doctor's status is 1: the report has said the rest.
var errIll = errors.New("something is wrong; each line above that begins with ERROR says how to mend it")

// examine is the command doctor.
func examine(ctx context.Context, args []string, out, _ io.Writer) error {
	f := newFlags("doctor", "latchkey doctor examines the configuration of a client, escrow, switchboard, witness or vault, the files\nthat it names, and those whom it calls. It changes nothing. Its status is 1 if something does not work.", out)
	path := f.String("config", "", "configuration file")
	role := f.String("role", "", "whose it is: client, escrow, switchboard, witness or vault (default: what the file shows)")
	asJSON := f.Bool("json", false, "print JSON")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *path == "" {
		return &hinted{fmt.Errorf("%w: doctor: no configuration is named", errUsage), "latchkey doctor --config client.toml"}
	}
	switch *role {
	case "", "client", "escrow", "switchboard", "witness", "vault":
	default:
		return &hinted{fmt.Errorf("%w: doctor: --role %q", errUsage, *role), "client, escrow, switchboard, witness or vault"}
	}
	r := doctor.Examine(ctx, *path, *role, time.Now)
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(r); err != nil {
			return err
		}
	} else {
		for _, x := range r.Findings {
			fmt.Fprintf(out, "%-7s %-11s %s\n", map[doctor.Result]string{doctor.OK: "ok", doctor.Warning: "warning", doctor.Problem: "ERROR"}[x.Result], x.Check, x.What)
			if x.Mend != "" {
				fmt.Fprintf(out, "%-7s %-11s -> %s\n", "", "", x.Mend)
			}
		}
	}
	if r.Worst() == doctor.Problem {
		return errIll
	}
	return nil
}

// vendors collects flags of the form "SIMULATED NAME=platform,platform".
type vendors []devnet.Vendor

func (v *vendors) String() string { return "" }

// Set takes one flag.
func (v *vendors) Set(text string) error {
	name, platforms, ok := strings.Cut(text, "=")
	if !ok || platforms == "" {
		return errors.New("want NAME=PLATFORM,PLATFORM")
	}
	*v = append(*v, devnet.Vendor{Name: name, Platforms: strings.Split(platforms, ",")})
	return nil
}

func simulate(_ context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("simulate", "latchkey simulate makes SIMULATED vendors, a platform file for each vault, and the policy that all parties\nuse. They take the place of hardware, and protect nothing.", out)
	var made vendors
	f.Var(&made, "vendor", "vendor and its platforms, \"SIMULATED Acme=alice,bob\"; once for each vendor")
	vault := f.String("vault", "", "the vault's program, as it is on every machine")
	folder := f.String("out", "", "folder for policy.toml and a NAME.json for each platform")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *vault == "" || *folder == "" || len(made) == 0 {
		return &hinted{fmt.Errorf("%w: simulate: --vault, --out and --vendor are needed", errUsage), "latchkey simulate --vault bin/vault --out trust --vendor \"SIMULATED Acme=alice,bob\" --vendor \"SIMULATED Borealis=escrow\""}
	}
	if err := devnet.Simulate(*folder, *vault, made); err != nil {
		return err
	}
	fmt.Fprintln(talk, "made simulated platforms: whoever has such a file can claim to run any program")
	_, err := fmt.Fprintln(out, *folder+"/policy.toml")
	return err
}

// newestHead is the command head.
func newestHead(ctx context.Context, args []string, out, talk io.Writer) error {
	f := newFlags("head", "latchkey head prints the newest witnessed head of an escrow's log, a signed note. It is not verified here;\nwhoever takes it, such as witness adopt, does.", out)
	at := f.String("escrow", "", "URL of the escrow's host")
	ca := f.String("ca", "", "file with the authorities that are believed, PEM (default: the system's)")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	trust := gate.Trust{CA: *ca}
	if err := trust.CheckURL(*at); err != nil {
		return &hinted{fmt.Errorf("%w: head: --escrow: %w", errUsage, err), "latchkey head --escrow https://escrow.example:7201"}
	}
	call, err := trust.Client(slog.New(slog.NewTextHandler(talk, nil)))
	if err != nil {
		return err
	}
	d, err := escrow.NewClient(*at, call).Describe(ctx)
	if err != nil {
		return &hinted{err, "--escrow is the URL of an escrow's host, https://HOST:7201; --ca names the authority that signed its certificate, where the system does not know it"}
	}
	if len(d.Head) == 0 {
		return errors.New("the escrow has no witnessed head yet")
	}
	_, err = out.Write(d.Head)
	return err
}
