import type { Announcement } from "./announcements.ts";
import type { Change } from "./changes.ts";
import type { Settings } from "./settings.ts";
import type { Target, TargetsOrProblem } from "./targets.ts";

/** All that the page shows. */
export interface Summary {
  title: string;
  state: OverallState;
  /** One sentence for the state. */
  message: string;
  /** Seconds over which availability is computed; null when the targets are not available. */
  windowSeconds: number | null;
  targets: Target[];
  announcements: Announcement[];
  /** The newest first. */
  changes: Change[];
  /** RFC 3339. */
  generatedAt: string;
}

export type OverallState = "operational" | "degraded" | "outage" | "unknown";

export function summarise(settings: Settings, found: TargetsOrProblem, announcements: Announcement[], changes: Change[], now: Date): Summary {
  const targets = "targets" in found ? found.targets : [];
  const overall = "targets" in found ? overallState(targets) : { state: "unknown" as const, message: "Checks are not available at the moment" };
  return {
    title: settings.title,
    ...overall,
    windowSeconds: "targets" in found ? found.windowSeconds : null,
    targets,
    announcements,
    changes,
    generatedAt: now.toISOString(),
  };
}

function overallState(targets: Target[]): { state: OverallState; message: string } {
  const known = targets.filter(({ state }) => state !== "unknown");
  const down = known.filter(({ state }) => state === "down");
  if (known.length === 0) return { state: "unknown", message: "Nothing has been checked yet" };
  if (down.length === 0) return { state: "operational", message: "All systems are up" };
  if (down.length === known.length) return { state: "outage", message: known.length === 1 ? `${down[0]!.name} is down` : "All systems are down" };
  return { state: "degraded", message: down.length === 1 ? `${down[0]!.name} is down` : `${down.length} of ${known.length} systems are down` };
}
