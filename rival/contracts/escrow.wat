;; The escrow of examples/escrow.latchkey for a WebAssembly machine. It sees parties, words and times as numbers and
;; keeps the two pots as numbers of units.
(module
  ;; terms
  (global $price (mut i64) (i64.const 0))
  (global $fee (mut i64) (i64.const 0))
  (global $judge_by (mut i64) (i64.const 0))
  ;; state: phase 0 closed, 1 Open, 2 Dispute; said: who asked to settle, by bit
  (global $phase (export "phase") (mut i64) (i64.const 0))
  (global $now (export "now") (mut i64) (i64.const 0))
  (global $until (export "until") (mut i64) (i64.const 0))
  (global $said (export "said") (mut i64) (i64.const 0))

  (func $within (param $v i64) (param $lo i64) (param $hi i64) (result i32)
    (i32.and (i64.ge_s (local.get $v) (local.get $lo)) (i64.le_s (local.get $v) (local.get $hi))))

  (func $enter (param $phase i64) (param $end i64) (param $at i64)
    (global.set $phase (local.get $phase))
    (global.set $now (local.get $at))
    (global.set $said (i64.const 0))
    (global.set $until (select (local.get $end) (local.get $at) (i64.gt_s (local.get $end) (local.get $at)))))

  ;; Opens, or returns 0 for terms that are refused.
  (func (export "open") (param $price i64) (param $fee i64) (param $ship_by i64) (param $judge_by i64) (param $at i64) (result i64)
    (if (i32.eqz (call $within (local.get $price) (i64.const 1) (i64.const 1000))) (then (return (i64.const 0))))
    (if (i32.eqz (call $within (local.get $fee) (i64.const 0) (i64.const 50))) (then (return (i64.const 0))))
    (if (i32.eqz (call $within (local.get $ship_by) (i64.const 0) (i64.const 253402300799))) (then (return (i64.const 0))))
    (if (i32.eqz (call $within (local.get $judge_by) (i64.const 0) (i64.const 253402300799))) (then (return (i64.const 0))))
    (if (i32.eqz (call $within (local.get $at) (i64.const 0) (i64.const 9007199254740992))) (then (return (i64.const 0))))
    (if (i64.ge_s (local.get $ship_by) (local.get $judge_by)) (then (return (i64.const 0))))
    (global.set $price (local.get $price))
    (global.set $fee (local.get $fee))
    (global.set $judge_by (local.get $judge_by))
    (call $enter (i64.const 1) (local.get $ship_by) (local.get $at))
    (i64.const 1))

  ;; Closes: to_seller units of the payment and to_arbiter of the costs are given, what is left goes back to the buyer.
  ;; The results are 2, and for each pot what buyer, seller and arbiter get, 20 bits each.
  (func $close (param $to_seller i64) (param $to_arbiter i64) (param $at i64) (result i64 i64 i64)
    (global.set $phase (i64.const 0))
    (global.set $now (local.get $at))
    (i64.const 2)
    (i64.or
      (i64.sub (global.get $price) (local.get $to_seller))
      (i64.shl (local.get $to_seller) (i64.const 20)))
    (i64.or
      (i64.sub (global.get $fee) (local.get $to_arbiter))
      (i64.shl (local.get $to_arbiter) (i64.const 40))))

  (func $refuse (result i64 i64 i64) (i64.const 0) (i64.const 0) (i64.const 0))
  (func $taken (result i64 i64 i64) (i64.const 1) (i64.const 0) (i64.const 0))

  ;; Takes one event. kind: 1 word, 2 deadline. word: 1 release, 2 refund, 3 dispute, 4 award, 5 settle.
  (func (export "step") (param $kind i64) (param $at i64) (param $party i64) (param $word i64) (param $has i64) (param $value i64) (param $observed i64) (result i64 i64 i64)
    (if (i64.eqz (global.get $phase)) (then (return (call $refuse))))
    (if (i64.lt_s (local.get $at) (global.get $now)) (then (return (call $refuse))))
    (if (i64.gt_s (local.get $at) (i64.const 9007199254740992)) (then (return (call $refuse))))
    (if (i64.eq (local.get $kind) (i64.const 2))
      (then
        (if (i64.lt_s (local.get $at) (global.get $until)) (then (return (call $refuse))))
        (if (i64.eq (global.get $phase) (i64.const 1))
          (then
            (call $enter (i64.const 2) (global.get $judge_by) (global.get $until))
            (return (call $taken))))
        (return (call $close (i64.div_s (global.get $price) (i64.const 2)) (i64.const 0) (global.get $until)))))
    (if (i64.ge_s (local.get $at) (global.get $until)) (then (return (call $refuse))))
    (if (i64.ne (local.get $kind) (i64.const 1)) (then (return (call $refuse))))
    (if (i64.eq (global.get $phase) (i64.const 1))
      (then
        (if (i64.ne (local.get $has) (i64.const 0)) (then (return (call $refuse))))
        (if (i64.eq (local.get $word) (i64.const 3))
          (then
            (if (i64.gt_u (local.get $party) (i64.const 1)) (then (return (call $refuse))))
            (call $enter (i64.const 2) (global.get $judge_by) (local.get $at))
            (return (call $taken))))
        (if (i32.and (i64.eq (local.get $word) (i64.const 1)) (i64.eqz (local.get $party)))
          (then (return (call $close (global.get $price) (i64.const 0) (local.get $at)))))
        (if (i32.and (i64.eq (local.get $word) (i64.const 2)) (i64.eq (local.get $party) (i64.const 1)))
          (then (return (call $close (i64.const 0) (i64.const 0) (local.get $at)))))
        (return (call $refuse))))
    (if (i64.eq (local.get $word) (i64.const 4))
      (then
        (if (i64.ne (local.get $party) (i64.const 2)) (then (return (call $refuse))))
        (if (i64.ne (local.get $has) (i64.const 1)) (then (return (call $refuse))))
        (if (i64.gt_u (local.get $value) (i64.const 100)) (then (return (call $refuse))))
        (return (call $close
          (i64.div_s (i64.mul (global.get $price) (local.get $value)) (i64.const 100))
          (global.get $fee)
          (local.get $at)))))
    (if (i64.ne (local.get $word) (i64.const 5)) (then (return (call $refuse))))
    (if (i64.gt_u (local.get $party) (i64.const 1)) (then (return (call $refuse))))
    (if (i64.ne (local.get $has) (i64.const 0)) (then (return (call $refuse))))
    (if (i64.eq (global.get $said) (i64.shl (i64.const 1) (local.get $party))) (then (return (call $refuse))))
    (if (i64.ne (global.get $said) (i64.const 0))
      (then (return (call $close (i64.div_s (global.get $price) (i64.const 2)) (i64.const 0) (local.get $at)))))
    (global.set $said (i64.shl (i64.const 1) (local.get $party)))
    (global.set $now (local.get $at))
    (call $taken))
)
