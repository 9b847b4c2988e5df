import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin } from "@checkstack/plugin-sdk";
import { start } from "@checkstack/plugin-sdk/testing";
import { TextDecoder, TextEncoder } from "../src/text.ts";

// Puts in place what the engine of a plugin has, and this Node may not.
start(definePlugin({}));

// Node's own are what these stand in for.
const given = ["", "plain", "ü €", "😀 and a half: \ud800", "\0\x7f"];

test("text becomes UTF-8 and back", () => {
  for (const text of given) {
    const bytes = new TextEncoder().encode(text);
    assert.deepEqual([...bytes], [...new globalThis.TextEncoder().encode(text)]);
    assert.equal(new TextDecoder().decode(bytes), text.toWellFormed());
    assert.equal(new TextDecoder().decode(bytes.buffer as ArrayBuffer), text.toWellFormed());
  }
  assert.equal(new TextDecoder().decode(new DataView(new TextEncoder().encode("abc").buffer as ArrayBuffer, 1)), "bc");
  assert.throws(() => new TextDecoder().decode(new Uint8Array([0xff])));
});
