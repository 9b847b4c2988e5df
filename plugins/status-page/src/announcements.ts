// Announcements, one entry of the key-value store each. The store forgets those whose time is over.

import { clock, HttpError, kv } from "@checkstack/plugin-sdk";

/** What visitors are told. */
export interface Announcement {
  id: string;
  level: Level;
  title: string;
  text: string;
  /** RFC 3339. */
  publishedAt: string;
  /** RFC 3339; null for until it is withdrawn. */
  endsAt: string | null;
}

export type Level = (typeof LEVELS)[number];

const LEVELS = ["info", "maintenance", "incident"] as const;
const PREFIX = "announcement:";
const MOST = 50;
const LONGEST_TTL_SECONDS = 366 * 24 * 60 * 60;

/** The newest first. */
export function list(): Announcement[] {
  const keys = kv.keys(PREFIX, { limit: MOST }).reverse();
  // One may end between the two calls.
  return keys.map((key) => kv.get<Announcement>(key)).filter((announcement) => announcement !== null);
}

export function find(id: string): Announcement {
  const announcement = isId(id) ? kv.get<Announcement>(PREFIX + id) : null;
  if (announcement === null) throw notFound(id);
  return announcement;
}

/** Keeps what a request asks for: `{title, text?, level?, ttlSeconds?}`. */
export function publish(asked: unknown): Announcement {
  const { title, text, level, ttlSeconds } = readDraft(asked);
  if (kv.keys(PREFIX, { limit: MOST }).length >= MOST) throw new HttpError(409, `there are ${MOST} announcements; withdraw one first`);
  const now = clock.microseconds();
  const announcement = {
    id: freeId(now),
    level,
    title,
    text,
    publishedAt: new Date(now / 1_000).toISOString(),
    endsAt: ttlSeconds === null ? null : new Date(now / 1_000 + ttlSeconds * 1_000).toISOString(),
  };
  kv.set(PREFIX + announcement.id, announcement, { ttlSeconds: ttlSeconds ?? undefined });
  return announcement;
}

export function withdraw(id: string): void {
  if (!isId(id) || !kv.remove(PREFIX + id)) throw notFound(id);
}

/** Of equal length, so that the order of keys is that of time. */
function freeId(now: number): string {
  let id: string;
  do id = (now++).toString(36).padStart(11, "0");
  while (kv.getBytes(PREFIX + id) !== null);
  return id;
}

interface Draft {
  title: string;
  text: string;
  level: Level;
  ttlSeconds: number | null;
}

function readDraft(asked: unknown): Draft {
  if (typeof asked !== "object" || asked === null || Array.isArray(asked)) throw new HttpError(400, "the body must be a JSON object");
  const { title, text = "", level = "info", ttlSeconds = null, ...unknown } = asked as Record<string, unknown>;
  const [stray] = Object.keys(unknown);
  if (stray !== undefined) throw new HttpError(400, `\`${stray}\` is not known: an announcement has \`title\`, \`text\`, \`level\` and \`ttlSeconds\``);
  if (typeof title !== "string" || title.trim() === "" || title.length > 200) throw new HttpError(400, "`title` must have 1 to 200 characters");
  if (typeof text !== "string" || text.length > 4_000) throw new HttpError(400, "`text` must be a text of at most 4000 characters");
  if (!LEVELS.includes(level as Level)) throw new HttpError(400, `\`level\` must be one of ${LEVELS.join(", ")}`);
  if (ttlSeconds !== null && !(Number.isInteger(ttlSeconds) && (ttlSeconds as number) >= 1 && (ttlSeconds as number) <= LONGEST_TTL_SECONDS)) {
    throw new HttpError(400, `\`ttlSeconds\` must be a whole number from 1 to ${LONGEST_TTL_SECONDS}`);
  }
  return { title: title.trim(), text, level: level as Level, ttlSeconds: ttlSeconds as number | null };
}

function isId(id: string): boolean {
  return /^[0-9a-z]{11}$/.test(id);
}

function notFound(id: string): HttpError {
  return new HttpError(404, `there is no announcement '${id}'`);
}
