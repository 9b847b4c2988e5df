// What the plugin `uptime` knows.

import { HostError, log, peers } from "@checkstack/plugin-sdk";

/** One thing that should be up, as `GET /api/uptime/targets` tells it. */
export interface Target {
  name: string;
  state: "up" | "down" | "unknown";
  /** RFC 3339; null before the first check. */
  checkedAt: string | null;
  latencyMs: number | null;
  problem: string | null;
  /** Within the window. */
  checks: number;
  /** 0 to 1. */
  availability: number | null;
}

/** Either the targets, or why there are none to show. */
export type TargetsOrProblem = { windowSeconds: number; targets: Target[] } | { problem: string };

/** Never throws: a status page without targets still has announcements. */
export function fetchTargets(): TargetsOrProblem {
  try {
    const reply = peers.call("uptime", "/targets");
    if (!reply.ok) return notAvailable(`uptime answered ${reply.status}`);
    const { windowSeconds, targets } = reply.json<{ windowSeconds: number; targets: Target[] }>();
    if (!Array.isArray(targets)) return notAvailable("the answer of uptime has no targets");
    return { windowSeconds, targets: targets.map(pick) };
  } catch (thrown) {
    if (thrown instanceof HostError) return notAvailable(thrown.message);
    throw thrown;
  }
}

/** Has all targets checked that were not checked a moment ago. */
export function checkNow(): void {
  try {
    const reply = peers.call("uptime", "/checks", { method: "POST" });
    if (!reply.ok) log.warn("uptime did not check its targets", { status: reply.status });
  } catch (thrown) {
    if (!(thrown instanceof HostError)) throw thrown;
    log.warn("uptime did not check its targets", { problem: thrown.message });
  }
}

/** What a visitor may see: not the URL. */
function pick({ name, state, checkedAt, latencyMs, problem, checks, availability }: Target): Target {
  return { name, state, checkedAt, latencyMs, problem, checks, availability };
}

function notAvailable(problem: string): TargetsOrProblem {
  log.warn("the targets are not available", { problem });
  return { problem };
}
