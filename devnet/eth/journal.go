package eth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// journalFile is where go-ethereum's pool appends each transaction that the RPC
// accepts. The pool itself looks at it ten seconds after a start; a chain whose
// blocks come every 200 ms wants it sooner, so the node reads it as well.
const journalFile = "transactions.rlp"

// readJournal returns the transactions in the journal at path, oldest first. The
// torn end that a crash may leave ends the list.
func readJournal(path string) ([]*types.Transaction, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of waiting transactions: %w", err)
	}
	defer file.Close()
	stream := rlp.NewStream(file, 0)
	var txs []*types.Transaction
	for {
		tx := new(types.Transaction)
		if stream.Decode(tx) != nil {
			return txs, nil
		}
		txs = append(txs, tx)
	}
}
