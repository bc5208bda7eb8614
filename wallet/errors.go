package wallet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"latchkey/wallet/walletpb"
)

// reasons is the one table between this package's errors, what stands on the
// wire, and the RPC code that goes with it.
var reasons = []struct {
	err    error
	reason walletpb.Reason
	code   connect.Code
}{
	{ErrUnreachable, walletpb.Reason_REASON_UNREACHABLE, connect.CodeUnavailable},
	{ErrNotFollowing, walletpb.Reason_REASON_NOT_FOLLOWING, connect.CodeUnavailable},
	{ErrUnknownAsset, walletpb.Reason_REASON_UNKNOWN_ASSET, connect.CodeNotFound},
	{ErrWrongKey, walletpb.Reason_REASON_WRONG_KEY, connect.CodeInvalidArgument},
	{ErrIDReused, walletpb.Reason_REASON_ID_REUSED, connect.CodeAlreadyExists},
	{ErrInvalid, walletpb.Reason_REASON_INVALID, connect.CodeInvalidArgument},
	{ErrFeeTooHigh, walletpb.Reason_REASON_FEE_TOO_HIGH, connect.CodeResourceExhausted},
	{ErrInsufficient, walletpb.Reason_REASON_INSUFFICIENT, connect.CodeFailedPrecondition},
	{ErrSpent, walletpb.Reason_REASON_SPENT, connect.CodeFailedPrecondition},
	{ErrNotConfirmed, walletpb.Reason_REASON_NOT_CONFIRMED, connect.CodeFailedPrecondition},
	{ErrNotFunded, walletpb.Reason_REASON_NOT_FUNDED, connect.CodeFailedPrecondition},
}

func reasonOf(err error) walletpb.Reason {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return walletpb.Reason_REASON_UNSPECIFIED
}

// A remoteError is an error that came over the wire: its text is the sender's,
// and it wraps the error of this package that the sender named.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func toError(m *walletpb.Error) error {
	text := printable(m.GetMessage())
	for _, r := range reasons {
		if r.reason == m.GetReason() {
			if text == "" {
				text = r.err.Error()
			}
			return &remoteError{text: text, kind: r.err}
		}
	}
	return &remoteError{text: "wallet: " + text}
}

// printable makes a foreign message safe for a terminal and a log line.
func printable(s string) string {
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, s)
}

// toWire makes err an error of the RPC, with the reason as a detail.
func toWire(err error) error {
	code, reason := connect.CodeInternal, reasonOf(err)
	for _, r := range reasons {
		if r.reason == reason {
			code = r.code
		}
	}
	switch {
	case reason != walletpb.Reason_REASON_UNSPECIFIED:
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	}
	out := connect.NewError(code, errors.New(printable(err.Error())))
	if d, e := connect.NewErrorDetail(&walletpb.Error{Reason: reason, Message: printable(err.Error())}); e == nil {
		out.AddDetail(d)
	}
	return out
}

// fromWire makes an error of the RPC one of this package. A connector that
// cannot be reached at all, or dies meanwhile, is ErrUnreachable too: the caller
// waits alike. ctx is that of the call: only its end, or the connector's word, makes
// an error of a context.
func fromWire(ctx context.Context, method string, err error) error {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return fmt.Errorf("wallet %s: %w", method, err)
	}
	for _, d := range ce.Details() {
		v, e := d.Value()
		if e != nil {
			continue
		}
		if m, ok := v.(*walletpb.Error); ok && m.GetReason() != walletpb.Reason_REASON_UNSPECIFIED {
			return fmt.Errorf("wallet %s: %w", method, toError(m))
		}
	}
	switch ce.Code() {
	case connect.CodeCanceled, connect.CodeDeadlineExceeded, connect.CodeUnavailable: // the first too for a broken pipe
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("wallet %s: %w", method, ctx.Err())
		case connect.IsWireError(err) && ce.Code() == connect.CodeCanceled:
			return fmt.Errorf("wallet %s: %w", method, context.Canceled)
		case connect.IsWireError(err) && ce.Code() == connect.CodeDeadlineExceeded:
			return fmt.Errorf("wallet %s: %w", method, context.DeadlineExceeded)
		}
		return fmt.Errorf("wallet %s: connector %w: %s", method, ErrUnreachable, printable(ce.Message()))
	}
	return fmt.Errorf("wallet %s: %s", method, printable(ce.Message()))
}
