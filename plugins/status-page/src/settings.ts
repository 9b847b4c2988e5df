import { InvalidConfig } from "@checkstack/plugin-sdk";

/** `spec.config`, and `adminToken` from a Secret. */
export interface Settings {
  title: string;
  description: string;
  /** Without it nobody can publish announcements. */
  adminToken: string | null;
  /** How often an open page loads again; 0 for never. */
  refreshSeconds: number;
}

const KNOWN = ["title", "description", "adminToken", "refreshSeconds"];
const SHORTEST_TOKEN = 16;

export function readSettings(given: Readonly<Record<string, unknown>>): Settings {
  const problems = Object.keys(given)
    .filter((name) => !KNOWN.includes(name))
    .map((name) => `\`${name}\` is not known; ${KNOWN.join(", ")} are`);

  const text = (name: string, fallback: string, longest: number): string => {
    const value = given[name] ?? fallback;
    if (typeof value === "string" && value.length <= longest) return value;
    problems.push(`\`${name}\` must be a text of at most ${longest} characters`);
    return fallback;
  };

  const adminToken = given["adminToken"] ?? null;
  if (adminToken !== null && (typeof adminToken !== "string" || adminToken.length < SHORTEST_TOKEN)) {
    problems.push(`\`adminToken\` must be a text of at least ${SHORTEST_TOKEN} characters`);
  }
  const refreshSeconds = given["refreshSeconds"] ?? 60;
  if (typeof refreshSeconds !== "number" || !Number.isInteger(refreshSeconds) || (refreshSeconds !== 0 && refreshSeconds < 5)) {
    problems.push("`refreshSeconds` must be a whole number from 5 on, or 0 for never");
  }
  const settings = {
    title: text("title", "Status", 100),
    description: text("description", "", 500),
    adminToken: adminToken as string | null,
    refreshSeconds: refreshSeconds as number,
  };
  if (problems.length > 0) throw new InvalidConfig(problems.join("; "));
  return settings;
}
