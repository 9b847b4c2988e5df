;; A plugin that does what the tests need, chosen by the letter after the first '/' of the path.
;; Marks in angle brackets are replaced by the test.
(module
  (import "checkstack:plugin/log@0.2.0" "write" (func $log (param i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/config@0.2.0" "get" (func $config (param i32)))
  (import "checkstack:plugin/clock@0.2.0" "monotonic" (func $clock (result i64)))
  (import "checkstack:plugin/key-value@0.2.0" "get" (func $kv_get (param i32 i32 i32)))
  (import "checkstack:plugin/key-value@0.2.0" "set" (func $kv_set (param i32 i32 i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/config@0.2.0" "version" (func $config_version (result i32)))
  (import "checkstack:plugin/settings@0.2.0" "get" (func $setting_get (param i32 i32 i32 i32)))
  (import "checkstack:plugin/settings@0.2.0" "set" (func $setting_set (param i32 i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/sql@0.2.0" "execute" (func $sql_execute (param i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/http-client@0.2.0" "send" (func $http_send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/plugins@0.2.0" "call" (func $peer_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/jobs@0.2.0" "enqueue" (func $enqueue (param i32 i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "checkstack:plugin/events@0.2.0" "emit" (func $emit (param i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/cache@0.2.0" "get" (func $cache_get (param i32 i32 i32)))
  (import "checkstack:plugin/cache@0.2.0" "set" (func $cache_set (param i32 i32 i32 i32 i32 i64 i32)))
  (import "checkstack:plugin/cache@0.2.0" "delete-by-prefix" (func $cache_delete (param i32 i32 i32)))
  (import "checkstack:plugin/signals@0.2.0" "broadcast" (func $broadcast (param i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/signals@0.2.0" "send-to-users" (func $to_users (param i32 i32 i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/signals@0.2.0" "send-to-authorized-users" (func $to_authorized (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/entities@0.2.0" "mutate" (func $mutate (param i32 i32 i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/entities@0.2.0" "remove" (func $remove (param i32 i32 i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/entities@0.2.0" "in-state-since" (func $in_state_since (param i32 i32 i32 i32 i32 i32 i32)))
  (import "checkstack:plugin/entities@0.2.0" "transition-count" (func $transition_count (param i32 i32 i32 i32 i32 i32 i64 i32)))
  <imports>

  (memory (export "memory") <pages>)
  (table $table 1 funcref)
  (data (i32.const 1024) "<text>")
  (data (i32.const 4096) "<contract>")
  (data (i32.const 2048) "GET")
  (data (i32.const 2060) "/e")
  (data (i32.const 2064) "/P")
  (data (i32.const 2070) "self")
  (data (i32.const 2080) "key")
  (data (i32.const 2090) "host")
  ;; list<probe>: name, critical
  (data (i32.const 2100) "\16\08\00\00\04\00\00\00\01\00\00\00")
  ;; list<header>: host: host
  (data (i32.const 2120) "\2a\08\00\00\04\00\00\00\2a\08\00\00\04\00\00\00")

  ;; list<queue>: name "key", 2 at once, 3 retries
  (data (i32.const 2140) "\20\08\00\00\03\00\00\00\02\00\00\00\03\00\00\00")

  (data (i32.const 2160) "subject.key")
  ;; list<subscription>: "subject.key", a broadcast, and worker group "key" with 3 retries
  (data (i32.const 2180) "\70\08\00\00\0b\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
  (data (i32.const 2204) "\70\08\00\00\0b\00\00\00\01\00\00\00\20\08\00\00\03\00\00\00\03\00\00\00")

  ;; list<entity-kind>: name "key", schema "{}", query "key"
  (data (i32.const 2260) "{}")
  (data (i32.const 2264) "\20\08\00\00\03\00\00\00\d4\08\00\00\02\00\00\00\20\08\00\00\03\00\00\00")

  ;; list<string>: "key"
  (data (i32.const 2240) "\20\08\00\00\03\00\00\00")
  (data (i32.const 2250) "key.read")

  (global $heap (mut i32) (i32.const 65536))
  (global $calls (mut i32) (i32.const 0))

  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (block $enough
      (loop $grow
        (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
        (br $grow)))
    (local.get $at))

  (func $recurse (param i32) (result i32)
    (i32.add (i32.const 1) (call $recurse (i32.add (local.get 0) (i32.const 1)))))

  ;; Computes for so many milliseconds.
  (func $compute (param $milliseconds i64)
    (local $end i64)
    (local.set $end (i64.add (call $clock) (i64.mul (local.get $milliseconds) (i64.const 1000000))))
    (loop $again (br_if $again (i64.lt_u (call $clock) (local.get $end)))))

  ;; Grows memory until it cannot, then traps as an allocator would.
  (func $balloon
    (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    unreachable)

  (func $endless (loop $again (br $again)))

  ;; result<_, error> of init and after-plugins-ready
  (func $failed (param $tag i32) (result i32)
    (i32.store8 (i32.const 3000) (i32.const 1))
    (i32.store8 (i32.const 3004) (local.get $tag))
    (i32.store (i32.const 3008) (i32.const 1024))
    (i32.store (i32.const 3012) (i32.const <text-length>))
    (i32.const 3000))
  (func $done (result i32) (i32.store8 (i32.const 3000) (i32.const 0)) (i32.const 3000))

  (func (export "checkstack:plugin/lifecycle@0.2.0#describe") (result i32)
    (i32.store (i32.const 3100) (i32.const 2100))
    (i32.store (i32.const 3104) (i32.const 1))
    (i32.store8 (i32.const 3108) (i32.const <has-contract>))
    (i32.store (i32.const 3112) (i32.const 4096))
    (i32.store (i32.const 3116) (i32.const <contract-length>))
    (i32.store (i32.const 3120) (i32.const 2140))
    (i32.store (i32.const 3124) (i32.const <queues>))
    (i32.store (i32.const 3128) (i32.const 2180))
    (i32.store (i32.const 3132) (i32.const <subscriptions>))
    (i32.store (i32.const 3136) (i32.const 2264))
    (i32.store (i32.const 3140) (i32.const <entities>))
    <describe>
    (i32.const 3100))
  (func (export "checkstack:plugin/lifecycle@0.2.0#init") (result i32) <init>)
  (func (export "checkstack:plugin/lifecycle@0.2.0#after-plugins-ready") (result i32) <after-plugins-ready>)
  (func (export "checkstack:plugin/lifecycle@0.2.0#shutdown") <shutdown>)

  ;; result<option<string>, call-error> at 3240. The letter at the beginning of the procedure decides.
  (func (export "checkstack:plugin/procedures@0.2.0#run")
    (param $procedure i32) (param $procedure_length i32) (param $input_some i32) (param $input i32) (param $input_length i32)
    (param $caller i32) (param $id i32) (param $id_length i32) (param $name i32) (param $name_length i32)
    (param $correlation i32) (param $correlation_length i32)
    (result i32)
    (local $letter i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (local.set $letter (i32.load8_u (local.get $procedure)))
    (i32.store8 (i32.const 3240) (i32.const 0))
    (i32.store8 (i32.const 3244) (i32.const 1))
    ;; e: the input, if there is one
    (if (i32.eq (local.get $letter) (i32.const 0x65))
      (then
        (i32.store8 (i32.const 3244) (local.get $input_some))
        (i32.store (i32.const 3248) (local.get $input))
        (i32.store (i32.const 3252) (local.get $input_length))
        (return (i32.const 3240))))
    ;; i: a digit for the kind of caller
    (if (i32.eq (local.get $letter) (i32.const 0x69))
      (then
        (i32.store8 (i32.const 3500) (i32.add (i32.const 0x30) (local.get $caller)))
        (i32.store (i32.const 3248) (i32.const 3500))
        (i32.store (i32.const 3252) (i32.const 1))
        (return (i32.const 3240))))
    ;; t: trap
    (if (i32.eq (local.get $letter) (i32.const 0x74)) (then unreachable))
    ;; x: no JSON
    (if (i32.eq (local.get $letter) (i32.const 0x78))
      (then
        (i32.store (i32.const 3248) (i32.const 2080))
        (i32.store (i32.const 3252) (i32.const 3))
        (return (i32.const 3240))))
    ;; anything else: an error whose code is the procedure, and whose message is who calls
    (i32.store8 (i32.const 3240) (i32.const 1))
    (i32.store (i32.const 3244) (local.get $procedure))
    (i32.store (i32.const 3248) (local.get $procedure_length))
    (i32.store8 (i32.const 3252) (i32.const 1))
    (i32.store (i32.const 3256) (local.get $name))
    (i32.store (i32.const 3260) (local.get $name_length))
    (i32.store8 (i32.const 3264) (i32.const 0))
    (i32.const 3240))

  ;; Does a job: puts its data under "key". result<_, error> at 3280.
  (func (export "checkstack:plugin/worker@0.2.0#work")
    (param $queue i32) (param $queue_length i32) (param $id i32) (param $id_length i32) (param $data i32) (param $length i32)
    (param $attempts i32) (param $enqueued_at i64)
    (result i32)
    (local $letter i32)
    (local.set $letter (i32.load8_u (local.get $id)))
    ;; t: trap
    (if (i32.eq (local.get $letter) (i32.const 0x74)) (then unreachable))
    (i32.store8 (i32.const 3280) (i32.const 0))
    ;; r or p: fails, so that it is tried again or not, with its data as the reason
    (if (i32.or (i32.eq (local.get $letter) (i32.const 0x72)) (i32.eq (local.get $letter) (i32.const 0x70)))
      (then
        (i32.store8 (i32.const 3280) (i32.const 1))
        (i32.store8 (i32.const 3284) (i32.eq (local.get $letter) (i32.const 0x70)))
        (i32.store (i32.const 3288) (local.get $data))
        (i32.store (i32.const 3292) (local.get $length))))
    (i32.const 3280))

  ;; Is told of an event. The first letter of its payload, a JSON text, decides. result<_, error> at 3280.
  (func (export "checkstack:plugin/listener@0.2.0#handle")
    (param $event i32) (param $event_length i32) (param $group_some i32) (param $group i32) (param $group_length i32)
    (param $payload i32) (param $length i32) (param $kind i32) (param $kind_length i32) (param $id i32) (param $id_length i32)
    (param $name i32) (param $name_length i32) (param $attempts i32)
    (result i32)
    (local $letter i32)
    (local.set $letter (i32.load8_u (i32.add (local.get $payload) (i32.const 1))))
    ;; t: trap
    (if (i32.eq (local.get $letter) (i32.const 0x74)) (then unreachable))
    (i32.store8 (i32.const 3280) (i32.const 0))
    ;; r: fails, so that it is told again, with the name of who has caused it as the reason
    (if (i32.eq (local.get $letter) (i32.const 0x72))
      (then
        (i32.store8 (i32.const 3280) (i32.const 1))
        (i32.store8 (i32.const 3284) (i32.const 0))
        (i32.store (i32.const 3288) (local.get $name))
        (i32.store (i32.const 3292) (local.get $name_length))))
    ;; p: fails for good, with the group as the reason, if there is one
    (if (i32.eq (local.get $letter) (i32.const 0x70))
      (then
        (i32.store8 (i32.const 3280) (i32.const 1))
        (i32.store8 (i32.const 3284) (i32.const 1))
        (i32.store (i32.const 3288) (local.get $group))
        (i32.store (i32.const 3292) (select (local.get $group_length) (i32.const 0) (local.get $group_some)))))
    ;; e: tells others of the same
    (if (i32.eq (local.get $letter) (i32.const 0x65))
      (then (call $emit (i32.const 2080) (i32.const 3) (local.get $payload) (local.get $length) (i32.const 3400))))
    (i32.const 3280))

  (func (export "checkstack:plugin/readiness@0.2.0#check") (param $name i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 3200) (i32.const 1))
    (i32.store8 (i32.const 3204) (i32.const 1))
    (i32.store (i32.const 3208) (local.get $name))
    (i32.store (i32.const 3212) (local.get $length))
    <check>
    (i32.const 3200))

  ;; The response at 3300.
  (func $answer (param $status i32) (param $headers i32) (param $header_count i32) (param $body i32) (param $length i32) (result i32)
    (i32.store16 (i32.const 3300) (local.get $status))
    (i32.store (i32.const 3304) (local.get $headers))
    (i32.store (i32.const 3308) (local.get $header_count))
    (i32.store (i32.const 3312) (local.get $body))
    (i32.store (i32.const 3316) (local.get $length))
    (i32.const 3300))

  ;; What result<response, error> at 3400 says: the response, or 500 + tag with the message.
  (func $answer_result (result i32)
    (if (result i32) (i32.eqz (i32.load8_u (i32.const 3400)))
      (then (call $answer (i32.load16_u (i32.const 3404)) (i32.load (i32.const 3408)) (i32.load (i32.const 3412))
                          (i32.load (i32.const 3416)) (i32.load (i32.const 3420))))
      (else (call $answer_error (i32.const 3404)))))
  (func $answer_error (param $at i32) (result i32)
    (call $answer (i32.add (i32.const 500) (i32.load8_u (local.get $at))) (i32.const 0) (i32.const 0)
                  (i32.load (i32.add (local.get $at) (i32.const 4))) (i32.load (i32.add (local.get $at) (i32.const 8)))))

  <entities-part>
  (func (export "checkstack:plugin/handler@0.2.0#handle")
    (param $method i32) (param $method_length i32) (param $path i32) (param $path_length i32)
    (param $query_some i32) (param $query i32) (param $query_length i32)
    (param $headers i32) (param $header_count i32) (param $body i32) (param $length i32)
    (param $caller i32) (param $caller_id i32) (param $caller_id_length i32)
    (param $correlation i32) (param $correlation_length i32)
    (result i32)
    (local $letter i32) (local $count i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (local.set $letter (i32.load8_u (i32.add (local.get $path) (i32.const 1))))

    ;; e: the request's header fields and body
    (if (i32.eq (local.get $letter) (i32.const 0x65))
      (then (return (call $answer (i32.const 200) (local.get $headers) (local.get $header_count) (local.get $body) (local.get $length)))))
    ;; n: how many calls this instance has had
    (if (i32.eq (local.get $letter) (i32.const 0x6e))
      (then
        (i32.store8 (i32.const 3500) (global.get $calls))
        (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 3500) (i32.const 1)))))
    ;; i: who calls
    (if (i32.eq (local.get $letter) (i32.const 0x69))
      (then (return (call $answer (i32.add (i32.const 200) (local.get $caller)) (i32.const 0) (i32.const 0) (local.get $caller_id) (local.get $caller_id_length)))))
    ;; I: the correlation id
    (if (i32.eq (local.get $letter) (i32.const 0x49))
      (then (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (local.get $correlation) (local.get $correlation_length)))))
    ;; t: trap
    (if (i32.eq (local.get $letter) (i32.const 0x74)) (then unreachable))
    ;; l: loop for ever
    (if (i32.eq (local.get $letter) (i32.const 0x6c)) (then (call $endless)))
    ;; b: be busy for 60 ms
    (if (i32.eq (local.get $letter) (i32.const 0x62)) (then (call $compute (i64.const 60))))
    ;; m: all the memory there is
    (if (i32.eq (local.get $letter) (i32.const 0x6d)) (then (call $balloon)))
    ;; M: 8 MiB more
    (if (i32.eq (local.get $letter) (i32.const 0x4d)) (then (drop (memory.grow (i32.const 128)))))
    ;; r: recursion
    (if (i32.eq (local.get $letter) (i32.const 0x72)) (then (drop (call $recurse (i32.const 0)))))
    ;; w: a table as large as possible
    (if (i32.eq (local.get $letter) (i32.const 0x77))
      (then
        (loop $again (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 10000)) (i32.const -1))))
        (i32.store (i32.const 3500) (table.size $table))
        (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 3500) (i32.const 4)))))
    ;; s: no HTTP status
    (if (i32.eq (local.get $letter) (i32.const 0x73))
      (then (return (call $answer (i32.const 99) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
    ;; z: a body of 17 MiB
    (if (i32.eq (local.get $letter) (i32.const 0x7a))
      (then
        (drop (memory.grow (i32.const 272)))
        (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 17825792)))))
    ;; a: a million header fields, all in the same memory
    (if (i32.eq (local.get $letter) (i32.const 0x61))
      (then
        (drop (memory.grow (i32.const 256)))
        (return (call $answer (i32.const 200) (i32.const 65536) (i32.const 1000000) (i32.const 0) (i32.const 0)))))
    ;; x: a body outside the memory
    (if (i32.eq (local.get $letter) (i32.const 0x78))
      (then (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0x7fff0000) (i32.const 1000)))))
    ;; g: the body, 300 times in the log, at info
    (if (i32.eq (local.get $letter) (i32.const 0x67))
      (then
        (loop $again
          (call $log (i32.const 2) (local.get $body) (local.get $length) (local.get $headers) (local.get $header_count))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $count) (i32.const 300))))))
    ;; C: the configuration
    (if (i32.eq (local.get $letter) (i32.const 0x43))
      (then
        (call $config (i32.const 3400))
        (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.load (i32.const 3400)) (i32.load (i32.const 3404))))))
    ;; h: GET the URL in the body, with the request's header fields
    (if (i32.eq (local.get $letter) (i32.const 0x68))
      (then
        (call $http_send (i32.const 2048) (i32.const 3) (local.get $body) (local.get $length)
          (local.get $headers) (local.get $header_count) (i32.const 0) (i32.const 0) (local.get $query_some) (i32.const 200) (i32.const 3400))
        (return (call $answer_result))))
    ;; k: the value of the key in the body
    (if (i32.eq (local.get $letter) (i32.const 0x6b))
      (then
        (call $kv_get (local.get $body) (local.get $length) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))
        (if (i32.eqz (i32.load8_u (i32.const 3404)))
          (then (return (call $answer (i32.const 404) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
        (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.load (i32.const 3408)) (i32.load (i32.const 3412))))))
    ;; K: sets "key" to the body
    (if (i32.eq (local.get $letter) (i32.const 0x4b))
      (then
        (call $kv_set (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 0) (i32.const 0) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))))
    ;; v: the setting of the id in the body, as of version 3; its version is in the status
    (if (i32.eq (local.get $letter) (i32.const 0x76))
      (then
        (call $setting_get (local.get $body) (local.get $length) (i32.const 3) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3408)))))
        (if (i32.eqz (i32.load8_u (i32.const 3408)))
          (then (return (call $answer (i32.const 404) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
        (return (call $answer (i32.add (i32.const 200) (i32.load (i32.const 3416))) (i32.const 0) (i32.const 0)
                              (i32.load (i32.const 3420)) (i32.load (i32.const 3424))))))
    ;; V: sets "key" to the body, in the version of the configuration
    (if (i32.eq (local.get $letter) (i32.const 0x56))
      (then
        (call $setting_set (i32.const 2080) (i32.const 3) (call $config_version) (local.get $body) (local.get $length) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))))
    ;; q: runs the SQL in the body
    (if (i32.eq (local.get $letter) (i32.const 0x71))
      (then
        (call $sql_execute (local.get $body) (local.get $length) (i32.const 0) (i32.const 0) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3408)))))))
    ;; p: calls the plugin in the body
    (if (i32.eq (local.get $letter) (i32.const 0x70))
      (then
        (call $peer_call (local.get $body) (local.get $length) (i32.const 2048) (i32.const 3) (i32.const 2060) (i32.const 2)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $body) (local.get $length) (i32.const 3400))
        (return (call $answer_result))))
    ;; j: enqueues the body in "key"; J: in "self", which is not described
    (if (i32.or (i32.eq (local.get $letter) (i32.const 0x6a)) (i32.eq (local.get $letter) (i32.const 0x4a)))
      (then
        (call $enqueue
          (select (i32.const 2080) (i32.const 2070) (i32.eq (local.get $letter) (i32.const 0x6a)))
          (select (i32.const 3) (i32.const 4) (i32.eq (local.get $letter) (i32.const 0x6a)))
          (local.get $body) (local.get $length) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))
        (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.load (i32.const 3404)) (i32.load (i32.const 3408))))))
    ;; E: emits the body as "key"
    (if (i32.eq (local.get $letter) (i32.const 0x45))
      (then
        (call $emit (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))))
    ;; H, R, L, T: entities
    (local.set $count (call $entities (local.get $letter) (local.get $body) (local.get $length)))
    (if (local.get $count) (then (return (local.get $count))))
    ;; B, U, A: sends the body as "key" to browsers: to all, to the user "key", to that user if they have been granted "key.read"
    (if (i32.eq (local.get $letter) (i32.const 0x42))
      (then
        (call $broadcast (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))))
    (if (i32.eq (local.get $letter) (i32.const 0x55))
      (then
        (call $to_users (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 2240) (i32.const 1) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))))
    (if (i32.eq (local.get $letter) (i32.const 0x41))
      (then
        (call $to_authorized (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 2240) (i32.const 1)
          (i32.const 2250) (i32.const 8) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))))
    ;; c: what is cached under the key in the body
    (if (i32.eq (local.get $letter) (i32.const 0x63))
      (then
        (call $cache_get (local.get $body) (local.get $length) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))
        (if (i32.eqz (i32.load8_u (i32.const 3404)))
          (then (return (call $answer (i32.const 404) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
        (return (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.load (i32.const 3408)) (i32.load (i32.const 3412))))))
    ;; S: caches the body under "key", for a second
    (if (i32.eq (local.get $letter) (i32.const 0x53))
      (then
        (call $cache_set (i32.const 2080) (i32.const 3) (local.get $body) (local.get $length) (i32.const 1) (i64.const 1000) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3404)))))))
    ;; D: forgets what is cached under keys that begin like the body
    (if (i32.eq (local.get $letter) (i32.const 0x44))
      (then
        (call $cache_delete (local.get $body) (local.get $length) (i32.const 3400))
        (if (i32.load8_u (i32.const 3400)) (then (return (call $answer_error (i32.const 3408)))))
        (return (call $answer (i32.add (i32.const 200) (i32.load (i32.const 3408))) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))))
    ;; P: computes for 60 ms, then asks the plugin in the body for the same
    (if (i32.eq (local.get $letter) (i32.const 0x50))
      (then
        (call $compute (i64.const 60))
        (call $peer_call (local.get $body) (local.get $length) (i32.const 2048) (i32.const 3) (i32.const 2064) (i32.const 2)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $body) (local.get $length) (i32.const 3400))
        (return (call $answer_result))))
    ;; anything else, and what went well: 204
    (call $answer (i32.const 204) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))

  (func (export "cabi_post_checkstack:plugin/handler@0.2.0#handle") (param i32)
    (global.set $heap (i32.const 65536)))
)
