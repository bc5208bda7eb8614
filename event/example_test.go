package event_test

import (
	"context"
	"fmt"

	"latchkey/event"
	"latchkey/head"
)

// A writer appends an event, a row that belongs to it and the tree's rows in one
// block; a reader who trusts nobody checks the event against a head.
func Example() {
	ctx := context.Background()
	log, err := event.NewMemory().Open() // on a disk: disk.Open(disk.Config{Folder: "data"})
	if err != nil {
		panic(err)
	}
	defer log.Close()
	tree, err := event.OpenTree(ctx, log)
	if err != nil {
		panic(err)
	}

	for _, e := range []string{"lock chunk 7", "give chunk 7 to bob", "claim chunk 7"} {
		block := event.Block{Events: [][]byte{[]byte(e)}}
		block.Puts = append(tree.Append(block.Events...), event.Row{Key: []byte("share/7"), Value: []byte("sealed for " + e)})
		if err := log.Append(ctx, log.Next(), block); err != nil {
			panic(err)
		}
	}

	prover := event.NewProver(log)
	root, err := prover.Root(ctx, 3)
	if err != nil {
		panic(err)
	}
	proof, err := prover.Inclusion(ctx, 1, 3)
	if err != nil {
		panic(err)
	}
	c := head.Checkpoint{Origin: "escrow.example/log", Size: 3, Root: root}
	fmt.Println(head.VerifyInclusion(c, 1, []byte("give chunk 7 to bob"), proof))
	fmt.Println(head.VerifyInclusion(c, 1, []byte("give chunk 7 to eve"), proof))
	// Output:
	// <nil>
	// entry 1 of escrow.example/log at size 3: proof does not hold
}
