package btc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"latchkey/wallet/btc/rpc"
)

// A journal is a file of all blocks that were ever best, in hex, a line each,
// parents first. Reorganised blocks stay in it: given back in order, the blocks
// lead to the same best one.
type journal struct {
	file *os.File
	size int64
	has  map[chainhash.Hash]bool
	tip  chainhash.Hash // the last best block that follow saw
}

const maxLine = 2*4_000_000 + 2 // of a block in hex

func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal of blocks: %w", err)
	}
	j := &journal{file: file, has: make(map[chainhash.Hash]bool)}
	err = j.each(func(b *wire.MsgBlock, _ string) error {
		j.has[b.BlockHash()] = true
		return nil
	})
	if err == nil {
		err = file.Truncate(j.size) // a line that a crash tore
	}
	if err == nil {
		_, err = file.Seek(j.size, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal of blocks %s: %w", path, err), file.Close())
	}
	return j, nil
}

func (j *journal) close() error { return j.file.Close() }

// each reads all whole lines from the start, and sets size to their end.
func (j *journal) each(f func(*wire.MsgBlock, string) error) error {
	if _, err := j.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	j.size = 0
	r := bufio.NewReaderSize(j.file, 1<<16)
	for n := 1; ; n++ {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(line) > maxLine {
			return fmt.Errorf("line %d is too long", n)
		}
		block, err := decodeBlock(line[:len(line)-1])
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := f(block, line[:len(line)-1]); err != nil {
			return err
		}
		j.size += int64(len(line))
	}
}

func decodeBlock(text string) (*wire.MsgBlock, error) {
	block := new(wire.MsgBlock)
	if err := block.Deserialize(hex.NewDecoder(strings.NewReader(text))); err != nil {
		return nil, fmt.Errorf("read a block: %w", err)
	}
	return block, nil
}

// restore gives a node the blocks that it lacks.
func (j *journal) restore(ctx context.Context, r *rpc.Client) error {
	var calls []rpc.Call
	err := j.each(func(_ *wire.MsgBlock, text string) error {
		calls = append(calls, rpc.Call{Method: "submitblock", Params: []any{text}})
		return nil
	})
	if err != nil {
		return fmt.Errorf("journal of blocks: %w", err)
	}
	if _, err := j.file.Seek(j.size, io.SeekStart); err != nil {
		return fmt.Errorf("journal of blocks: %w", err)
	}
	// Most of them it has: how many, its height tells, unless the chain forked.
	var height int
	if err := r.Call(ctx, &height, "getblockcount"); err != nil {
		return err
	}
	if height >= len(calls) {
		return j.follow(ctx, r)
	}
	verdicts := make([]any, len(calls))
	for i := range calls {
		calls[i].Result = &verdicts[i]
	}
	if err := r.Batch(ctx, 50, calls); err != nil {
		return err
	}
	for i, c := range calls {
		if c.Err != nil {
			return fmt.Errorf("give block %d back to btcd: %w", i, c.Err)
		}
		if s, _ := verdicts[i].(string); s != "" && !strings.Contains(s, "already have block") {
			return fmt.Errorf("give block %d back to btcd: %s", i, s)
		}
	}
	return j.follow(ctx, r)
}

// follow writes down the node's best blocks that are new.
func (j *journal) follow(ctx context.Context, r *rpc.Client) error {
	var best string
	if err := r.Call(ctx, &best, "getbestblockhash"); err != nil {
		return err
	}
	hash, err := chainhash.NewHashFromStr(best)
	if err != nil {
		return fmt.Errorf("best block: %w", err)
	}
	if *hash == j.tip {
		return nil
	}
	tip := *hash
	var lines []string // newest first
	var hashes []chainhash.Hash
	for !j.has[*hash] {
		var text string
		if err := r.Call(ctx, &text, "getblock", hash.String(), 0); err != nil {
			return err
		}
		block, err := decodeBlock(text)
		if err != nil {
			return err
		}
		if block.Header.PrevBlock == (chainhash.Hash{}) {
			break // every node has the first block
		}
		lines, hashes = append(lines, text), append(hashes, *hash)
		hash = &block.Header.PrevBlock
	}
	var out bytes.Buffer
	for i := len(lines) - 1; i >= 0; i-- {
		out.WriteString(lines[i])
		out.WriteByte('\n')
	}
	if err := j.write(out.Bytes()); err != nil {
		return err
	}
	for _, h := range hashes {
		j.has[h] = true
	}
	j.tip = tip
	return nil
}

// write appends, durably or not at all.
func (j *journal) write(raw []byte) error {
	if len(raw) == 0 {
		return nil
	}
	_, err := j.file.Write(raw)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		_, seek := j.file.Seek(j.size, io.SeekStart)
		return fmt.Errorf("journal of blocks: %w", errors.Join(err, j.file.Truncate(j.size), seek))
	}
	j.size += int64(len(raw))
	return nil
}
