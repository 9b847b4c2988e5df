// Small values by key, kept in the instance's database and shared by all replicas. Needs the grant
// `database`. A key has 1 to 512 bytes, a value at most 1 MiB.

import * as host from "checkstack:plugin/key-value@0.2.0";
import { callHost } from "./errors.ts";
import { decode, encode } from "./text.ts";

/** How to keep an entry. */
export interface KeepOptions {
  /** Whole seconds after which it is gone; without, it stays. */
  ttlSeconds?: number | undefined;
}

/** The bytes of `key`; null when there is no such key. */
export function getBytes(key: string): Uint8Array | null {
  return callHost(() => host.get(key));
}

/** The text of `key`; null when there is no such key. */
export function getText(key: string): string | null {
  const bytes = getBytes(key);
  return bytes === null ? null : decode(bytes);
}

/** The value of `key` read as JSON; null when there is no such key. It is what was set, unchecked. */
export function get<T = unknown>(key: string): T | null {
  const text = getText(key);
  return text === null ? null : (JSON.parse(text) as T);
}

/** Sets the bytes of `key`. */
export function setBytes(key: string, value: Uint8Array, options?: KeepOptions): void {
  callHost(() => host.set(key, value, options?.ttlSeconds ?? null));
}

/** Sets the text of `key`. */
export function setText(key: string, value: string, options?: KeepOptions): void {
  setBytes(key, encode(value), options);
}

/** Sets `key` to a value as JSON. */
export function set(key: string, value: unknown, options?: KeepOptions): void {
  setText(key, JSON.stringify(value), options);
}

/** Removes `key`; true when there was one. */
export function remove(key: string): boolean {
  return callHost(() => host.delete(key));
}

/** Keys that begin with `prefix`, in byte order, those after `after` only, at most 1,000. */
export function keys(prefix: string, options?: { after?: string; limit?: number }): string[] {
  return callHost(() => host.keys(prefix, options?.after ?? null, options?.limit ?? 1_000));
}
