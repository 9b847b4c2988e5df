// What has happened lately, as the plugin `uptime` tells it: one entry of the key-value store each. Every page shows them, so they are cached.

import { cache, kv, type EntityChanged, type Subscription } from "@checkstack/plugin-sdk";

/** A target went down, or came back. */
export interface Change {
  target: string;
  up: boolean;
  /** RFC 3339. */
  at: string;
  /** Why it was not up. */
  problem: string | null;
}

/** How a target is, as uptime tells it. */
interface TargetState {
  up: boolean;
  problem: string | null;
}

const PREFIX = "change:";
const CACHED = "changes";
const SHOWN = 10;
const KEPT_SECONDS = 14 * 24 * 60 * 60;
/** What is cached is removed with each change, on every replica. Somebody who read before it may cache it after. */
const CACHED_MILLISECONDS = 10_000;
/** Larger than every time, so that the newest comes first. */
const FAR = 10_000_000_000_000;

export const subscriptions: Subscription<any, any>[] = [
  {
    event: "automation.entity.changed/uptime.target",
    mode: "work-queue",
    workerGroup: "changes",
    handle({ id: target, prev, next, occurredAt: at }: EntityChanged<TargetState>) {
      // Nothing has happened to one that goes out of sight, or is up when it is first seen.
      if (next === null || next.up === (prev?.up ?? true)) return;
      const change: Change = { target, up: next.up, at, problem: next.problem };
      // The same key when it is told again.
      kv.set(`${PREFIX}${String(FAR - Date.parse(at)).padStart(14, "0")}:${target}`, change, { ttlSeconds: KEPT_SECONDS });
      cache.remove(CACHED);
    },
  },
];

/** The newest first. */
export function latest(): Change[] {
  const known = cache.get<Change[]>(CACHED);
  if (known !== null) return known;
  const keys = kv.keys(PREFIX, { limit: SHOWN });
  // One may end between the two calls.
  const changes = keys.map((key) => kv.get<Change>(key)).filter((change) => change !== null);
  cache.set(CACHED, changes, { ttlMilliseconds: CACHED_MILLISECONDS });
  return changes;
}
