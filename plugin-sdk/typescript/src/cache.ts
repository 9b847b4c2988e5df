// Copies of what is expensive to get again, in the memory of each replica. An entry may be gone at any time: the plugin's share is full, its
// time is over, or another replica has set or deleted it. What one replica changes, the others forget within a moment. A key has 1 to
// 512 bytes, a value at most 1 MiB.

import * as host from "checkstack:plugin/cache@0.2.0";
import { callHost } from "./errors.ts";
import { decode, encode } from "./text.ts";

/** For how long an entry is of use. */
export interface CacheOptions {
  /** Milliseconds after which it is gone; without, it stays for as long as there is room. */
  ttlMilliseconds?: number | undefined;
}

/** The bytes of `key`; null when there is no such key. */
export function getBytes(key: string): Uint8Array | null {
  return callHost(() => host.get(key));
}

/** The value of `key` read as JSON; null when there is no such key. It is what was set, unchecked. */
export function get<T = unknown>(key: string): T | null {
  const bytes = getBytes(key);
  return bytes === null ? null : (JSON.parse(decode(bytes)) as T);
}

/** Sets the bytes of `key`. */
export function setBytes(key: string, value: Uint8Array, options?: CacheOptions): void {
  callHost(() => host.set(key, value, options?.ttlMilliseconds ?? null));
}

/** Sets `key` to a value as JSON. */
export function set(key: string, value: unknown, options?: CacheOptions): void {
  setBytes(key, encode(JSON.stringify(value)), options);
}

/** Deletes `key`, in all replicas; true when there was one in this. */
export function remove(key: string): boolean {
  return callHost(() => host.delete(key));
}

/** Deletes all keys that begin with `prefix`, in all replicas; how many there were in this. */
export function removeByPrefix(prefix: string): number {
  return callHost(() => host.deleteByPrefix(prefix));
}
