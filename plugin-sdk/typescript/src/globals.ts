// Puts in place what the engine lacks, or has in a form that does not work in a plugin: there is no
// WASI, so its own clock traps, and its random numbers are the same in every instance. The build
// imports this before anything of the plugin.

import * as clock from "checkstack:plugin/clock@0.2.0";
import { console } from "./log.ts";
import { TextDecoder, TextEncoder } from "./text.ts";

const EngineDate = Date;

class HostDate extends EngineDate {
  constructor(...parts: [] | [string | number | Date]) {
    if (parts.length === 0) super(HostDate.now());
    else super(...parts);
  }

  static override now(): number {
    return Math.floor(clock.now() / 1_000);
  }
}

let state = 0;

/** Numbers that differ between instances, and that anybody can guess: for jitter, never for secrets. */
function random(): number {
  if (state === 0) state = (clock.now() ^ clock.monotonic() ^ 0x9e3779b9) | 1;
  // Mulberry32.
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

Object.assign(globalThis, { Date: HostDate, TextDecoder, TextEncoder, console, performance: { now: () => clock.monotonic() / 1_000_000 } });
Math.random = random;
