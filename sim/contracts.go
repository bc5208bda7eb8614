package sim

// The texts of folder examples, which a test compares with it.
const (
	swapSource = `# Two parties exchange what they hold, at once and whole.
contract Swap
parties alice, bob
term a : units 1..1_000_000
term b : units 1..1_000_000
pot left_side  = a units from alice
pot right_side = b units from bob
at open:
  give all of left_side to bob
  give all of right_side to alice
  close
`
	paySource = `# A plain payment: the money is the payee's from the first moment.
contract Pay
parties payer, payee
term amount : units 1..1_000_000
pot money = amount units from payer
at open:
  give all of money to payee
  close
`
	escrowSource = `# The buyer pays when the goods arrive. If the two disagree, an arbiter divides the payment and is paid for it.
# If nobody does anything, the payment is divided by half.
contract Escrow
parties buyer, seller, arbiter
term price : units 1..1000
term fee   : units 0..50
term ship_by : time
term judge_by : time
require ship_by < judge_by
pot payment = price units from buyer
pot costs   = fee units from buyer

phase Open until ship_by
  when buyer says "release":
    give all of payment to seller
    close
  when seller says "refund": close
  when buyer or seller says "dispute": next Dispute
  at deadline: next Dispute

phase Dispute until judge_by
  when arbiter says "award" with percent in 0..100:
    give share(payment, percent, 100) of payment to seller
    give all of costs to arbiter
    close
  when buyer and seller say "settle":
    give payment / 2 of payment to seller
    close
  at deadline:
    give payment / 2 of payment to seller
    close
`
)

func sourceOf(c contractID) string {
	return map[contractID]string{Swap: swapSource, Pay: paySource, Escrow: escrowSource, Wager: wagerSource, Twice: twiceSource, Ordering: orderSource}[c]
}
