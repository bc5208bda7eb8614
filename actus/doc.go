// Package actus writes contracts of the ACTUS taxonomy in Latchkey's language and plays them.
//
// The story in order: Read takes cases as the ACTUS tests lay them out (Case). Translate makes a Plan of one: payments, each a
// formula over terms and observed values, on a day; or a guarantee, due when a covered contract defaults. Plan.Write
// makes a contract of it, Plan.Explore one that a vault would sign; it is compiled, bound and played like any other, and Play returns who
// got what, and when.
//
// There is no table of cases and none of results. A contract type is a function from terms to payments (types.go); whatever is
// a sum of products, quotients, minima and maxima of terms and observed values can be written and played. What cannot be is refused with
// an error that wraps ErrLeftOut. docs/contracts/actus.md says how amounts are rounded.
package actus
