import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, HostError, peers } from "@checkstack/plugin-sdk";
import { start } from "@checkstack/plugin-sdk/testing";

const EVERYTHING = {
  at: new Date("2026-01-02T03:04:05.678Z"),
  big: 9_007_199_254_740_993n,
  nan: NaN,
  holes: ["a", undefined, "b"],
  pattern: /a+\/b/gi,
  set: new Set([new Date(0), 1n]),
  map: new Map<unknown, unknown>([["a", { inner: new Map([[1n, new Date(1)]]) }]]),
  text: "2026-01-02T03:04:05.678Z",
  nothing: null,
};

/** A plugin that asks another one with what the test has given, in memory, for an answer. */
function called(given: unknown, answer: object): { sent: any; output: any } {
  let sent: unknown;
  let output: unknown;
  const ask = () => {
    try {
      output = peers.callProcedure("other", "answer", given);
    } catch (thrown) {
      output = thrown;
    }
  };
  const plugin = definePlugin({ procedures: (procedures) => procedures.mutation("ask", { run: ask }) });
  const running = start(plugin, {
    peers(_, __, ___, body) {
      sent = JSON.parse(body);
      return { body: answer };
    },
  });
  running.call("ask");
  return { sent, output };
}

test("types that JSON lacks are noted, and arrive", () => {
  const { sent } = called(EVERYTHING, {});
  assert.deepEqual(sent.json.set, ["1970-01-01T00:00:00.000Z", "1"]);
  assert.deepEqual(sent.meta.slice(0, 5), [[1, "at"], [0, "big"], [2, "nan"], [3, "holes", 1], [5, "pattern"]]);
  // What is inside comes before what it is in.
  assert.deepEqual(sent.meta.slice(5, 8), [[1, "set", 0], [0, "set", 1], [6, "set"]]);
  assert.deepEqual(called(undefined, sent).output, EVERYTHING);
});

test("what is not there is not sent", () => {
  assert.deepEqual(called(undefined, {}), { sent: {}, output: undefined });
  assert.deepEqual(called({ a: undefined, b: 1 }, {}).sent, { json: { b: 1 } });
  assert.deepEqual(called(null, { json: null }), { sent: { json: null }, output: null });
  assert.deepEqual(called(null, { json: null, meta: [[3]] }).output, undefined);
  assert.deepEqual(called(null, { json: { a: null }, meta: [[3, "a"]] }).output, {});
});

test("notes change nothing but the answer", () => {
  for (const meta of [[[1, "__proto__", "polluted"]], [[3, "constructor"]], [[1, "a", "b"]], [[9, "a"]], [[5, "a"]]]) {
    const { output } = called(null, { json: { a: "x" }, meta });
    assert.ok(output instanceof HostError && output.reason === "unexpected", JSON.stringify(meta));
  }
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  // A URL is a text here.
  assert.deepEqual(called(null, { json: "https://a/", meta: [[4]] }).output, "https://a/");
});
