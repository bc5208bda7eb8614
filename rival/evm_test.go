package rival

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
)

// EVM is go-ethereum's virtual machine under the rules of mainnet, over a state in
// memory. An event is what a transaction is inside of it: the access list, a metered
// call, and the end that makes its writes final. Signatures, nonces, fees, receipts,
// blocks and roots are left out.
type EVM struct {
	C       *Contract
	db      *state.StateDB
	vm      *vm.EVM
	rules   params.Rules
	holders []common.Address // precompiled contracts, for the access list
	probes  uint64
}

const (
	openGas = 5_000_000
	stepGas = 100_000
)

var (
	evmCaller    = common.Address{19: 0xca}
	evmProducer  = common.Address{19: 0xcb}
	evmStateSlot = common.Hash{31: 1}
)

// NewEVM returns a machine with an empty state.
func NewEVM(c *Contract) (*EVM, error) {
	db, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	if err != nil {
		return nil, fmt.Errorf("make a state: %w", err)
	}
	block := vm.BlockContext{
		CanTransfer: core.CanTransfer, Transfer: core.Transfer,
		GetHash:     func(uint64) common.Hash { return common.Hash{} },
		Coinbase:    evmProducer,
		GasLimit:    60_000_000,
		BlockNumber: big.NewInt(30_000_000),
		Time:        1_800_000_000,
		Difficulty:  new(big.Int),
		BaseFee:     new(big.Int),
		BlobBaseFee: big.NewInt(1),
		Random:      &common.Hash{},
	}
	m := &EVM{C: c, db: db, vm: vm.NewEVM(block, db, params.MainnetChainConfig, vm.Config{})}
	m.vm.SetTxContext(vm.TxContext{Origin: evmCaller, GasPrice: new(uint256.Int)})
	m.rules = params.MainnetChainConfig.Rules(block.BlockNumber, true, block.Time)
	m.holders = vm.ActivePrecompiles(m.rules)
	return m, nil
}

// Name returns what the pages call the machine.
func (m *EVM) Name() string { return "EVM" }

// Compile assembles the opcodes and loads the code.
func (m *EVM) Compile() (Program, error) {
	_, run, err := assembleCode(m.C.Opcodes)
	if err != nil {
		return nil, err
	}
	return m.load(run)
}

// Load is what the machine does with code that it has not seen: it stores it under its
// hash, and analyses where its jumps may go when it is first called.
func (m *EVM) Load() (Program, error) { return m.load(m.C.Run) }

func (m *EVM) load(run []byte) (Program, error) {
	m.probes++
	at := common.BigToAddress(new(big.Int).SetUint64(m.probes))
	at[0] = 0xcd
	m.db.SetCode(at, run, tracing.CodeChangeUnspecified)
	m.vm.SetJumpDestCache(nil)
	if _, err := m.call(at, make([]byte, 7*32)); !errors.Is(err, ErrRefused) {
		return nil, fmt.Errorf("load %s: an empty account took an event: %w", m.C.Name, err)
	}
	return m, nil
}

// Close leaves the state to the collector.
func (m *EVM) Close() error { return nil }

type evmInstance struct {
	m  *EVM
	at common.Address
}

// Open deploys the contract: its code runs once and puts the terms into the instance's
// storage.
func (m *EVM) Open(terms []int64, now int64) (Instance, error) {
	code := m.C.Create
	code = appendWords(code[:len(code):len(code)], append(terms[:len(terms):len(terms)], now)...)
	m.db.Prepare(m.rules, evmCaller, evmProducer, nil, m.holders, nil)
	_, at, _, err := m.vm.Create(evmCaller, code, vm.NewGasBudget(openGas, 0), new(uint256.Int))
	m.db.Finalise(m.rules)
	if errors.Is(err, vm.ErrExecutionReverted) {
		err = ErrRefused
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", m.C.Name, err)
	}
	return &evmInstance{m, at}, nil
}

func (m *EVM) call(at common.Address, input []byte) ([]byte, error) {
	m.db.Prepare(m.rules, evmCaller, evmProducer, &at, m.holders, nil)
	out, _, err := m.vm.Call(evmCaller, at, input, vm.NewGasBudget(stepGas, 0), new(uint256.Int))
	m.db.Finalise(m.rules)
	if errors.Is(err, vm.ErrExecutionReverted) {
		return nil, ErrRefused
	}
	return out, err
}

func (i *evmInstance) Step(ev *Event, r *Result) error {
	var has int64
	if ev.HasValue {
		has = 1
	}
	out, err := i.m.call(i.at, appendWords(make([]byte, 0, 7*32),
		int64(ev.Kind), ev.At, int64(ev.Party), ev.Number, has, ev.Value, ev.Observed))
	if r.Closed = len(out) > 0; err != nil || !r.Closed {
		return err
	}
	for pot := range 2 {
		for party := range i.m.C.Parties {
			at := 32 - 4*(3*pot+party+1)
			r.Paid[pot][party] = int64(binary.BigEndian.Uint32(out[at:]))
		}
	}
	return nil
}

// appendWords appends numbers as the EVM takes them: 256 bits, two's complement.
func appendWords(b []byte, numbers ...int64) []byte {
	for _, n := range numbers {
		for range 3 {
			b = binary.BigEndian.AppendUint64(b, uint64(n>>63))
		}
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

// Snapshot reads the storage slot of the state, without leading zeros.
func (i *evmInstance) Snapshot(b []byte) ([]byte, error) {
	v := i.m.db.GetState(i.at, evmStateSlot)
	return append(b, common.TrimLeftZeroes(v[:])...), nil
}

func (i *evmInstance) Restore(b []byte) error {
	i.m.db.SetState(i.at, evmStateSlot, common.BytesToHash(b))
	i.m.db.Finalise(i.m.rules)
	return nil
}

func (i *evmInstance) Close() error { return nil }

// Stored commits the state and returns how many bytes its database then holds: what
// the machine itself writes, the nodes of its tries, keys included.
func (m *EVM) Stored() (int, error) {
	root, err := m.db.Commit(m.rules, 30_000_000)
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	tries := m.db.Database().TrieDB()
	if err := tries.Commit(root, false); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	n := 0
	it := tries.Disk().NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		n += len(it.Key()) + len(it.Value())
	}
	return n, it.Error()
}
