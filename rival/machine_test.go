package rival

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"latchkey/contract"
)

// Contract is one contract, as each machine takes it.
type Contract struct {
	Name    string
	Parties int
	Source  []byte   // in this project's language
	Wat     string   // in WebAssembly's text format
	Module  []byte   // what it is assembled to, metered
	State   []string // its globals that hold an instance's state
	Opcodes string   // in opcodes of the EVM
	Create  []byte   // what they are assembled to: code that opens an instance, without its arguments
	Run     []byte   // and code of an instance
}

// Event is one event for every machine. Word is named and, for the machines that know
// no strings, numbered.
type Event struct {
	contract.Event
	Number int64
}

// Words numbers the words of both contracts.
var Words = map[string]int64{"release": 1, "refund": 2, "dispute": 3, "award": 4, "settle": 5, "unwind": 6}

// Say numbers the word of an event.
func Say(ev contract.Event) Event { return Event{ev, Words[ev.Word]} }

// Result is what an event did: whether the contract is over, and if so the units that
// each party got of each pot.
type Result struct {
	Closed bool
	Paid   [2][3]int64
}

// ErrRefused is wrapped where a machine refuses terms or an event.
var ErrRefused = errors.New("refused")

// A Machine runs instances of one contract.
type Machine interface {
	Name() string
	// Compile makes a program of the text that somebody wrote.
	Compile() (Program, error)
	// Load makes a program of the bytes that a compiler made, or of the text where
	// there are none.
	Load() (Program, error)
}

// A Program opens instances.
type Program interface {
	Open(terms []int64, now int64) (Instance, error)
	Close() error
}

// An Instance takes events. A refused event changes nothing.
type Instance interface {
	// Step takes an event. What it did goes into r, which is written only when the
	// contract is over.
	Step(ev *Event, r *Result) error
	// Snapshot appends where the instance stands, without its terms.
	Snapshot(b []byte) ([]byte, error)
	// Restore puts an instance of the same terms where a snapshot stood.
	Restore(b []byte) error
	Close() error
}

//go:embed contracts
var contracts embed.FS

// Load reads one of the two contracts, escrow or cfd.
func Load(name string) (*Contract, error) {
	c := &Contract{Name: name}
	var err error
	if c.Source, err = os.ReadFile(filepath.Join("..", "examples", name+".latchkey")); err != nil {
		return nil, fmt.Errorf("load contract %s: %w", name, err)
	}
	p, err := contract.Compile(c.Source)
	if err != nil {
		return nil, fmt.Errorf("load contract %s: %w", name, err)
	}
	c.Parties = len(p.Parties())
	text, err := contracts.ReadFile("contracts/" + name + ".wat")
	if err != nil {
		return nil, fmt.Errorf("load contract %s: %w", name, err)
	}
	c.Wat = string(text)
	if c.Module, c.State, err = assembleModule(c.Wat); err != nil {
		return nil, fmt.Errorf("load contract %s.wat: %w", name, err)
	}
	if text, err = contracts.ReadFile("contracts/" + name + ".evm"); err != nil {
		return nil, fmt.Errorf("load contract %s: %w", name, err)
	}
	c.Opcodes = string(text)
	if c.Create, c.Run, err = assembleCode(c.Opcodes); err != nil {
		return nil, fmt.Errorf("load contract %s.evm: %w", name, err)
	}
	return c, nil
}

// Denominate divides units into chunks of 1, 2, 5, 10, … such that the rule that picks
// chunks for a give can make every amount of them: what is exact on a machine that
// counts units is then exact in chunks.
func Denominate(units int64) []int64 {
	var chunks []int64
	for units > 0 {
		best := int64(1)
		for d := int64(1); d <= (units+1)/2; d *= 10 {
			for _, k := range [...]int64{1, 2, 5} {
				if k*d <= (units+1)/2 {
					best = k * d
				}
			}
		}
		chunks = append(chunks, best)
		units -= best
	}
	return chunks
}
