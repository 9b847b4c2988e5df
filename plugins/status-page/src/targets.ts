// What the plugin `uptime` knows.

import { HostError, log, peers, ProcedureError } from "@checkstack/plugin-sdk";

/** One thing that should be up, as its procedure `targets` tells it. */
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
    const { windowSeconds, targets } = peers.callProcedure<{ windowSeconds: number; targets: Target[] }>("uptime", "targets");
    if (!Array.isArray(targets)) return notAvailable("the answer of uptime has no targets");
    return { windowSeconds, targets: targets.map(pick) };
  } catch (thrown) {
    if (thrown instanceof HostError || thrown instanceof ProcedureError) return notAvailable(thrown.message);
    throw thrown;
  }
}

/** Has all targets checked that were not checked a moment ago. */
export function checkNow(): void {
  try {
    peers.callProcedure("uptime", "checks/run");
  } catch (thrown) {
    if (!(thrown instanceof HostError || thrown instanceof ProcedureError)) throw thrown;
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
