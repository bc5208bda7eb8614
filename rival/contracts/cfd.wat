;; The contract for difference of examples/cfd.latchkey for a WebAssembly machine. It sees parties, words and times as
;; numbers and keeps the two pots as numbers of units.
(module
  ;; terms
  (global $stake (mut i64) (i64.const 0))
  (global $leverage (mut i64) (i64.const 0))
  (global $strike (mut i64) (i64.const 0))
  (global $settle_at (mut i64) (i64.const 0))
  (global $grace (mut i64) (i64.const 0))
  ;; state: phase 0 closed, 1 Live, 2 Settle; said: who asked to unwind, by bit; newest: time of the newest price
  (global $phase (export "phase") (mut i64) (i64.const 0))
  (global $now (export "now") (mut i64) (i64.const 0))
  (global $until (export "until") (mut i64) (i64.const 0))
  (global $said (export "said") (mut i64) (i64.const 0))
  (global $newest (export "newest") (mut i64) (i64.const 0))

  (func $within (param $v i64) (param $lo i64) (param $hi i64) (result i32)
    (i32.and (i64.ge_s (local.get $v) (local.get $lo)) (i64.le_s (local.get $v) (local.get $hi))))

  (func $enter (param $phase i64) (param $end i64) (param $at i64)
    (global.set $phase (local.get $phase))
    (global.set $now (local.get $at))
    (global.set $said (i64.const 0))
    (global.set $until (select (local.get $end) (local.get $at) (i64.gt_s (local.get $end) (local.get $at)))))

  ;; Opens, or returns 0 for terms that are refused.
  (func (export "open") (param $stake i64) (param $leverage i64) (param $strike i64) (param $settle_at i64) (param $grace i64) (param $at i64) (result i64)
    (if (i32.eqz (call $within (local.get $stake) (i64.const 1) (i64.const 1000))) (then (return (i64.const 0))))
    (if (i32.eqz (call $within (local.get $leverage) (i64.const 1) (i64.const 100))) (then (return (i64.const 0))))
    (if (i32.eqz (call $within (local.get $strike) (i64.const 1) (i64.const 10000000000))) (then (return (i64.const 0))))
    (if (i32.eqz (call $within (local.get $settle_at) (i64.const 0) (i64.const 253402300799))) (then (return (i64.const 0))))
    (if (i32.eqz (call $within (local.get $grace) (i64.const 0) (i64.const 31622400000))) (then (return (i64.const 0))))
    (if (i32.eqz (call $within (local.get $at) (i64.const 0) (i64.const 9007199254740992))) (then (return (i64.const 0))))
    (global.set $stake (local.get $stake))
    (global.set $leverage (local.get $leverage))
    (global.set $strike (local.get $strike))
    (global.set $settle_at (local.get $settle_at))
    (global.set $grace (local.get $grace))
    (call $enter (i64.const 1) (local.get $settle_at) (local.get $at))
    (i64.const 1))

  ;; Closes: of the bull pot to_short units are given, of the bear pot to_long; what is left goes back to who put it in.
  ;; The results are 2, and for each pot what long and short get, 20 bits each.
  (func $close (param $to_short i64) (param $to_long i64) (param $at i64) (result i64 i64 i64)
    (global.set $phase (i64.const 0))
    (global.set $now (local.get $at))
    (i64.const 2)
    (i64.or
      (i64.sub (global.get $stake) (local.get $to_short))
      (i64.shl (local.get $to_short) (i64.const 20)))
    (i64.or
      (local.get $to_long)
      (i64.shl (i64.sub (global.get $stake) (local.get $to_long)) (i64.const 20))))

  (func $refuse (result i64 i64 i64) (i64.const 0) (i64.const 0) (i64.const 0))
  (func $taken (result i64 i64 i64) (i64.const 1) (i64.const 0) (i64.const 0))

  ;; What the long side has gained, without limit: the ranges of the terms keep the product below 2^50.
  (func $gain (param $price i64) (result i64)
    (i64.div_s
      (i64.mul (i64.mul (global.get $leverage) (global.get $stake)) (i64.sub (local.get $price) (global.get $strike)))
      (global.get $strike)))

  (func $least (param $a i64) (param $b i64) (result i64)
    (select (local.get $a) (local.get $b) (i64.lt_s (local.get $a) (local.get $b))))

  ;; Takes one event. kind: 1 word, 2 deadline, 3 price. word: 6 unwind.
  (func (export "step") (param $kind i64) (param $at i64) (param $party i64) (param $word i64) (param $has i64) (param $value i64) (param $observed i64) (result i64 i64 i64)
    (local $gain i64)
    (if (i64.eqz (global.get $phase)) (then (return (call $refuse))))
    (if (i64.lt_s (local.get $at) (global.get $now)) (then (return (call $refuse))))
    (if (i64.gt_s (local.get $at) (i64.const 9007199254740992)) (then (return (call $refuse))))
    (if (i64.eq (local.get $kind) (i64.const 2))
      (then
        (if (i64.lt_s (local.get $at) (global.get $until)) (then (return (call $refuse))))
        (if (i64.eq (global.get $phase) (i64.const 1))
          (then
            (call $enter (i64.const 2) (i64.add (global.get $settle_at) (global.get $grace)) (global.get $until))
            (return (call $taken))))
        (return (call $close (i64.const 0) (i64.const 0) (global.get $until)))))
    (if (i64.ge_s (local.get $at) (global.get $until)) (then (return (call $refuse))))
    (if (i64.eq (local.get $kind) (i64.const 3))
      (then
        (if (i32.eqz (call $within (local.get $value) (i64.const 1) (i64.const 10000000000))) (then (return (call $refuse))))
        (if (i32.eqz (call $within (local.get $observed) (i64.const 0) (local.get $at))) (then (return (call $refuse))))
        (if (i64.eq (global.get $phase) (i64.const 1))
          (then
            (if (i64.le_s (local.get $observed) (global.get $newest)) (then (return (call $refuse))))
            (if (i64.gt_s (i64.sub (local.get $at) (local.get $observed)) (i64.const 60)) (then (return (call $refuse))))
            (local.set $gain (call $gain (local.get $value)))
            (if (i64.ge_s (local.get $gain) (global.get $stake))
              (then (return (call $close (i64.const 0) (global.get $stake) (local.get $at)))))
            (if (i64.le_s (local.get $gain) (i64.sub (i64.const 0) (global.get $stake)))
              (then (return (call $close (global.get $stake) (i64.const 0) (local.get $at)))))
            (global.set $newest (local.get $observed))
            (global.set $now (local.get $at))
            (return (call $taken))))
        (if (i64.ne (local.get $observed) (global.get $settle_at)) (then (return (call $refuse))))
        (local.set $gain (call $gain (local.get $value)))
        (if (i64.ge_s (local.get $value) (global.get $strike))
          (then (return (call $close (i64.const 0) (call $least (global.get $stake) (local.get $gain)) (local.get $at)))))
        (return (call $close (call $least (global.get $stake) (i64.sub (i64.const 0) (local.get $gain))) (i64.const 0) (local.get $at)))))
    (if (i64.ne (local.get $kind) (i64.const 1)) (then (return (call $refuse))))
    (if (i64.ne (global.get $phase) (i64.const 1)) (then (return (call $refuse))))
    (if (i64.ne (local.get $word) (i64.const 6)) (then (return (call $refuse))))
    (if (i64.gt_u (local.get $party) (i64.const 1)) (then (return (call $refuse))))
    (if (i64.ne (local.get $has) (i64.const 0)) (then (return (call $refuse))))
    (if (i64.eq (global.get $said) (i64.shl (i64.const 1) (local.get $party))) (then (return (call $refuse))))
    (if (i64.ne (global.get $said) (i64.const 0))
      (then (return (call $close (i64.const 0) (i64.const 0) (local.get $at)))))
    (global.set $said (i64.shl (i64.const 1) (local.get $party)))
    (global.set $now (local.get $at))
    (call $taken))
)
