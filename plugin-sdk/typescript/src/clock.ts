// Time. `Date` works as everywhere.

import * as host from "checkstack:plugin/clock@0.2.0";

/** Microseconds since 1970-01-01T00:00:00Z. */
export function microseconds(): number {
  return host.now();
}

/** Milliseconds, with fractions, from an arbitrary point; never goes backwards. For measuring. */
export function monotonic(): number {
  return host.monotonic() / 1_000_000;
}
