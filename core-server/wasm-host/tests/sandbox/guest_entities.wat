  ;; What the handler does with entities, by the letter of the path: the response, or 0.
  (func $entities (param $letter i32) (param $body i32) (param $length i32) (result i32)
    (local $count i32)
    ;; H, R: changes or removes the entity of kind "key" whose id is the body, with one statement, "key" without parameters; how many rows that
    ;; touched, and the state afterwards if it is another one
    (if (i32.or (i32.eq (local.get $letter) (i32.const 0x48)) (i32.eq (local.get $letter) (i32.const 0x52)))
      (then
        (i32.store (i32.const 3600) (i32.const 2080))
        (i32.store (i32.const 3604) (i32.const 3))
        (i32.store (i32.const 3608) (i32.const 0))
        (i32.store (i32.const 3612) (i32.const 0))
        (if (i32.eq (local.get $letter) (i32.const 0x48))
          (then (call $mutate (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 3600) (i32.const 1) (i32.const 3400)))
          (else (call $remove (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 3600) (i32.const 1) (i32.const 3400))))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3408)))))
        ;; touched: list at 3408; change: option at 3416, with sequence at 3424, id at 3432, before at 3440, after at 3452
        (local.set $count (i32.add (i32.const 200) (i32.wrap_i64 (i64.load (i32.load (i32.const 3408))))))
        (if (i32.eqz (i32.load8_u (i32.const 3416)))
          (then (return (call $answer (local.get $count) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
        (return (call $answer (local.get $count) (i32.const 0) (i32.const 0) (i32.load (i32.const 3456)) (i32.load (i32.const 3460))))))
    ;; L: since when the field "key" of the entity in the body has its value: the milliseconds as so many bytes, or 404
    (if (i32.eq (local.get $letter) (i32.const 0x4c))
      (then
        (call $in_state_since (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 2080) (i32.const 3) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3408)))))
        (if (i32.eqz (i32.load8_u (i32.const 3408)))
          (then (return (call $answer (i32.const 404) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
        (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.wrap_i64 (i64.load (i32.const 3424)))))))
    ;; T: how often it has changed within a minute, beside 200
    (if (i32.eq (local.get $letter) (i32.const 0x54))
      (then
        (call $transition_count (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 2080) (i32.const 3)
          (i64.const 60000) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3408)))))
        (return (call $answer (i32.add (i32.const 200) (i32.wrap_i64 (i64.load (i32.const 3408)))) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
    (i32.const 0))
