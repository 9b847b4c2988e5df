// What a plugin is told while it runs and has to remember: values by id, each in a format that may change. Needs the
// grant `database`. All replicas share them. An id has 1 to 255 bytes, a value at most 1 MiB as JSON, and there are at
// most 1,000 of them.
//
// A release that raises the version of a format finds what an older one has written, migrates it once and keeps both.
// When the plugin is put back, the older release finds its own record, as it left it; what that one then writes
// counts, and is migrated again later.

import * as host from "checkstack:plugin/settings@0.2.0";
import { callHost, HostError, messageOf } from "./errors.ts";
import type { Versioned } from "./versioned.ts";

/** So often a value is migrated again that somebody else changes meanwhile. */
const ATTEMPTS = 5;

/** The value of `id`, brought up to date; null when there is none. */
export function get<T>(id: string, format: Versioned<T>): T | null {
  const { version } = format;
  let found = callHost(() => host.get(id, version));
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (found === null) return null;
    const source = found;
    const data = usable(id, () => format.migrate(source.version, JSON.parse(source.data)));
    // What could not be read later is not stored.
    const value = usable(id, () => format.parse(version, data));
    if (source.version === version) return value;
    found = callHost(() => host.migrate(id, source, version, JSON.stringify(data)));
  }
  throw new HostError("unavailable", `the setting '${id}' is changed by others all the time`);
}

/** Sets `id`, for all replicas. The value is stored as JSON. */
export function set<T>(id: string, format: Versioned<T>, value: unknown): void {
  callHost(() => host.set(id, format.version, JSON.stringify(value)));
}

/** Removes `id`, in all versions; true when there was one. */
export function remove(id: string): boolean {
  return callHost(() => host.delete(id));
}

/** Ids in byte order, those after `after` only, at most 1,000. */
export function ids(options?: { after?: string; limit?: number }): string[] {
  return callHost(() => host.ids(options?.after ?? null, options?.limit ?? 1_000));
}

function usable<T>(id: string, how: () => T): T {
  try {
    return how();
  } catch (thrown) {
    throw new HostError("unusable", `the setting '${id}' cannot be used: ${messageOf(thrown)}`);
  }
}
