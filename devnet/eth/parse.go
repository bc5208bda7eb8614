package eth

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum/common"
)

// ParseAddress reads an address of 40 hexadecimal digits after 0x. If its letters are of
// both cases they must be its checksum (ERC-55).
func ParseAddress(text string) (common.Address, error) {
	if !strings.HasPrefix(text, "0x") || !common.IsHexAddress(text) {
		return common.Address{}, fmt.Errorf("%q is not an address of 0x and 40 hexadecimal digits", text)
	}
	address := common.HexToAddress(text)
	digits := text[2:]
	oneCase := digits == strings.ToLower(digits) || digits == strings.ToUpper(digits)
	if !oneCase && text != address.Hex() {
		return common.Address{}, fmt.Errorf("%q has a wrong checksum", text)
	}
	return address, nil
}

// ParseAmount reads a positive amount below 2^100 wei: digits for wei, or a
// decimal number followed by gwei (10^9 wei) or eth (10^18 wei).
func ParseAmount(text string) (*big.Int, error) {
	number, decimals := text, 0
	if rest, ok := strings.CutSuffix(text, "gwei"); ok {
		number, decimals = rest, 9
	} else if rest, ok := strings.CutSuffix(text, "eth"); ok {
		number, decimals = rest, 18
	}
	whole, part, dotted := strings.Cut(number, ".")
	if !isDigits(whole) || dotted && !isDigits(part) {
		return nil, fmt.Errorf("%q is not an amount such as 1000, 3gwei or 2.5eth", text)
	}
	if len(part) > decimals {
		return nil, fmt.Errorf("%q has a fraction of a wei", text)
	}
	if len(whole) > 31 { // 2^100 has 31 digits
		return nil, errors.New("the amount is too large")
	}
	wei, _ := new(big.Int).SetString(whole+part+strings.Repeat("0", decimals-len(part)), 10)
	if wei.Sign() == 0 {
		return nil, fmt.Errorf("%q is not a positive amount", text)
	}
	if wei.BitLen() > 100 {
		return nil, errors.New("the amount is too large")
	}
	return wei, nil
}

func isDigits(s string) bool {
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return s != ""
}
