// What the plugin `uptime` knows.

import { HostError, log, ProcedureError } from "@checkstack/plugin-sdk";
import { uptime, type TargetSummary } from "./uptime.ts";

/** One thing that should be up, with what a visitor may see: not the URL. */
export type Target = Pick<TargetSummary, "name" | "state" | "checkedAt" | "latencyMs" | "problem" | "checks" | "availability">;

/** Either the targets, or why there are none to show. */
export type TargetsOrProblem = { windowSeconds: number; targets: Target[] } | { problem: string };

/** Never throws: a status page without targets still has announcements. */
export function fetchTargets(): TargetsOrProblem {
  try {
    const { windowSeconds, targets } = uptime.targets();
    return { windowSeconds, targets: targets.map(pick) };
  } catch (thrown) {
    if (thrown instanceof HostError || thrown instanceof ProcedureError) return notAvailable(thrown.message);
    throw thrown;
  }
}

/** Has all targets checked that were not checked a moment ago. */
export function checkNow(): void {
  try {
    uptime.checksRun();
  } catch (thrown) {
    if (!(thrown instanceof HostError || thrown instanceof ProcedureError)) throw thrown;
    log.warn("uptime did not check its targets", { problem: thrown.message });
  }
}

function pick({ name, state, checkedAt, latencyMs, problem, checks, availability }: TargetSummary): Target {
  return { name, state, checkedAt, latencyMs, problem, checks, availability };
}

function notAvailable(problem: string): TargetsOrProblem {
  log.warn("the targets are not available", { problem });
  return { problem };
}
