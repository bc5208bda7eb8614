package independent_test

import (
	"bytes"
	"crypto/hpke"
	"errors"
	"fmt"
	"regexp"
)

// The structures of wire.md, key.md and log.md, field by field.
var (
	id32       = octets(32)
	u32        = unsigned(32)
	u64        = unsigned(64)
	recipients = list(id32)
	atEpoch    = structure(fields{1: id32, 2: u32}, nil)
	order      = structure(fields{1: id32, 2: list(atEpoch)}, nil)
	signature  = octets(-1)

	asset        = structure(fields{1: text, 2: text, 3: unsigned(8), 4: text, 5: unsigned(8)}, nil)
	denomination = structure(fields{1: text, 2: asset, 3: octets(16)}, nil)
	spec         = structure(fields{1: denomination, 2: u32, 3: u32, 4: signed}, nil)
	holding      = structure(fields{1: unsigned(8), 2: list(id32)}, nil)
	certificate  = structure(fields{
		1: u32, 2: denomination, 3: u32, 4: u32, 5: id32, 6: id32, 7: list(id32), 8: id32,
		9: structure(fields{1: list(holding), 2: u32}, nil), 10: signed, 11: signed, 12: id32, 13: id32, 14: text,
	}, nil)

	stake     = structure(fields{1: id32, 2: u32, 3: u32}, nil)
	agreement = structure(fields{
		1: octets(-1), 2: list(signed), 3: list(recipients), 4: list(list(stake)), 5: id32, 6: signed, 7: unsigned(8),
	}, fields{
		8: structure(fields{1: u32, 2: u32, 3: u32, 4: u32}, nil), 9: notEmpty(list(quorum)), 10: notEmpty(list(text)), 11: structure(fields{1: u32, 2: u32}, nil),
		12: notEmpty(list(denomination)),
	})
	quorum      = structure(fields{1: text, 2: list(octets(32)), 3: u32}, nil)
	signedValue = structure(fields{1: structure(fields{1: text, 2: signed, 3: signed}, nil), 2: octets(32), 3: signature}, nil)
	report      = structure(fields{1: id32, 2: u32, 3: list(signedValue), 4: u64}, nil)
	acceptance  = structure(fields{1: structure(fields{1: id32, 2: u32, 3: octets(16)}, nil), 2: signature}, nil)
	word        = structure(fields{1: structure(fields{1: id32, 2: u32, 3: u64, 4: text, 5: signed, 6: yesNo}, fields{7: octets(32), 8: octets(32)}), 2: signature}, nil)
	stepWord    = structure(fields{1: structure(fields{1: id32, 2: u32, 3: yesNo}, nil), 2: signature}, nil)
	signedCert  = structure(fields{1: octets(-1), 2: signature, 3: signature}, nil)
	papers      = structure(fields{
		1: list(structure(fields{1: signedCert, 2: identity}, nil)), 2: list(structure(fields{1: id32, 2: u32, 3: point, 4: list(id32)}, nil)),
	}, nil)
	depositOrder = structure(fields{1: id32, 2: u32, 3: list(atEpoch), 4: u32, 5: signed}, nil)
	exit         = structure(fields{1: id32, 2: recipients, 3: u32, 4: point, 5: point, 6: u64}, nil)

	kinds = fields{
		2:  structure(fields{1: u32, 2: text, 3: identity, 4: octets(-1)}, nil),
		3:  structure(fields{1: identity, 2: octets(-1), 3: id32}, nil),
		4:  structure(fields{1: recipients, 2: id32, 3: spec, 4: id32}, nil),
		5:  structure(fields{1: certificate, 2: list(point), 3: list(point)}, nil),
		6:  structure(fields{1: agreement, 2: list(acceptance), 3: list(list(u64))}, nil),
		7:  structure(fields{1: id32, 2: u32, 3: u64}, fields{4: u64}),
		8:  structure(fields{1: id32, 2: u32, 3: u64, 4: signature}, fields{5: u64}),
		9:  structure(fields{1: id32, 2: u64, 3: unsigned(8), 5: signed, 6: u64, 7: list(exit), 8: yesNo, 9: yesNo}, fields{4: word, 10: stepWord, 11: report, 12: u64}),
		10: structure(fields{1: recipients, 2: order, 3: signature, 4: list(u64)}, nil),
		11: structure(fields{1: recipients, 2: u64}, nil),
		12: structure(fields{1: recipients, 2: order, 3: signature, 4: list(u64)}, nil),
		13: structure(fields{1: octets(-1)}, nil),
		14: structure(fields{1: id32}, nil),
		15: structure(fields{1: depositOrder, 2: signature, 3: papers, 4: list(u64), 5: u64}, nil),
	}
	entry = structure(fields{1: signed}, kinds)
)

// identity checks both keys: the second is one for the KEM of session.md.
func identity(v value) error {
	if err := structure(fields{1: octets(32), 2: octets(1216)}, nil)(v); err != nil {
		return err
	}
	_, err := hpke.MLKEM768X25519().NewPublicKey(v.(map[uint64]any)[2].([]byte))
	return err
}

var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9:.-]*[a-z0-9])?$`)

// checkDenomination holds a denomination to the rules under key.md's certificate.
func checkDenomination(d map[uint64]any) error {
	a := d[2].(map[uint64]any)
	for _, x := range []struct {
		s    string
		most int
	}{{d[1].(string), 48}, {a[1].(string), 32}, {a[2].(string), 64}, {a[4].(string), 32}} {
		if len(x.s) > x.most || !name.MatchString(x.s) {
			return fmt.Errorf("name %q", x.s)
		}
	}
	if t := a[3].(uint64); t != 1 && t != 2 {
		return fmt.Errorf("key type %d", t)
	}
	if a[5].(uint64) > 36 {
		return errors.New("more than 36 decimals")
	}
	if bytes.Equal(d[3].([]byte), make([]byte, 16)) {
		return errors.New("a unit of nothing")
	}
	return nil
}

// readEntry reads an entry of the log: exactly one kind.
func readEntry(b []byte) (at int64, kind uint64, e map[uint64]any, err error) {
	m, err := read(b, entry)
	if err != nil {
		return 0, 0, nil, err
	}
	if len(m) != 2 {
		return 0, 0, nil, fmt.Errorf("an entry of %d kinds", len(m)-1)
	}
	for k, v := range m {
		if k != 1 {
			kind, e = k, v.(map[uint64]any)
		}
	}
	return number(m[1]), kind, e, nil
}

// number is a signed number's value.
func number(v value) int64 {
	if n, ok := v.(int64); ok {
		return n
	}
	return int64(v.(uint64))
}
