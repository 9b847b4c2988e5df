// Client of the plugin `uptime` for other plugins, made by `checkstack client`: do not edit.

import { peers } from "@checkstack/plugin-sdk";

/** What came of one check. */
export interface Outcome {
  checkedAt: string;
  latencyMs: number;
  /** Why it is not up. */
  problem: string | null;
  /** None where there was no answer. */
  status: number | null;
  target: string;
  up: boolean;
}

export type State = "up" | "down" | "unknown";

/** How a target is, and how it has been. */
export interface TargetSummary {
  /** 0 to 1: the part of them that found it up. */
  availability: number | null;
  /** None before the first check, like what follows. */
  checkedAt: string | null;
  /** Checks within the window. */
  checks: number;
  latencyMs: number | null;
  /** Of those that found it up. */
  meanLatencyMs: number | null;
  name: string;
  problem: string | null;
  state: State;
  status: number | null;
  url: string;
}

/** What a run of checks came to. */
export interface ChecksRunOutput {
  checked: Outcome[];
  /** There was no time left for these; the next run begins with them. */
  postponed: string[];
  /** Checked by another request a moment ago. */
  recent: string[];
}

export interface TargetsOutput {
  targets: TargetSummary[];
  /** Seconds over which availability and latency are computed. */
  windowSeconds: number;
}

/** Which history. */
export interface TargetsHistoryInput {
  /** So many results at most. */
  limit?: number;
  /** The name of a target. */
  target: string;
}

export interface TargetsHistoryOutput {
  results: Outcome[];
  target: string;
}

/** The procedures of the plugin `uptime`. They throw a `ProcedureError` when it says no, and a `HostError` when there is no answer. */
export const uptime = {
  /**
   * Checks all targets that were not checked a moment ago
   *
   * Those that have waited longest come first; what there is no time for comes first next time.
   *
   * **Authorization.** Everybody may call it whose role permits it; without signing in, the role `anonymous`. Needs `uptime.check.manage`.
   */
  checksRun(): ChecksRunOutput {
    return peers.callProcedure("uptime", "checks/run");
  },
  /**
   * How each target is, and how it has been
   *
   * **Authorization.** Everybody may call it whose role permits it; without signing in, the role `anonymous`. Needs `uptime.target.read`.
   */
  targets(): TargetsOutput {
    return peers.callProcedure("uptime", "targets");
  },
  /**
   * What checks of a target came to, the newest first
   *
   * **Authorization.** Everybody may call it whose role permits it; without signing in, the role `anonymous`. Needs `uptime.target.read`.
   */
  targetsHistory(input: TargetsHistoryInput): TargetsHistoryOutput {
    return peers.callProcedure("uptime", "targets/history", input);
  },
};
