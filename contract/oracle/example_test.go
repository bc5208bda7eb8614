package oracle_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"

	"latchkey/contract/oracle"
)

// keys are those of three reporters, from fixed seeds.
func keys() (list []ed25519.PrivateKey, public [][]byte) {
	for i := range 3 {
		k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize))
		list, public = append(list, k), append(public, k.Public().(ed25519.PublicKey))
	}
	slices.SortFunc(public, bytes.Compare)
	return list, public
}

func ExampleNewFraud() {
	list, _ := keys()
	a, _ := oracle.Value{Feed: "gold/usd", Time: 1_800_000_000, Value: 2650_00}.Sign(list[0])
	b, _ := oracle.Value{Feed: "gold/usd", Time: 1_800_000_000, Value: 2590_00}.Sign(list[0])
	fmt.Println(oracle.NewFraud(a, b).Verify())
	fmt.Println(oracle.NewFraud(a, a).Verify())
	// Output:
	// <nil>
	// oracle refused: no fraud: the values are the same, or not the lesser first
}

func ExampleQuorum_Check() {
	_, public := keys()
	fmt.Println(oracle.Quorum{Feed: "gold/usd", Keys: public, Need: 2}.Check())
	fmt.Println(oracle.Quorum{Feed: "gold/usd", Keys: public, Need: 1}.Check())
	// Output:
	// <nil>
	// oracle refused: 1 of 3 keys of feed gold/usd: ask for more than half of 1 to 16
}

func ExampleCheckFeed() {
	fmt.Println(oracle.CheckFeed("gold/usd"))
	fmt.Println(oracle.CheckFeed("gold usd"))
	// Output:
	// <nil>
	// oracle refused: a feed is named by 1 to 64 visible ASCII characters without " and \, not by "gold usd"
}
