// Telling the pages that people have open in their browsers that something has happened, on all replicas. A page that is not open is not
// told, and one that could not keep up loads anew: say what has changed, and let the page ask for it. A payload has at most 64 KiB, and a
// plugin may send 20 signals a second for long.

import * as host from "checkstack:plugin/signals@0.2.0";
import { callHost } from "./errors.ts";

/** Tells every page that is open, also those of people who have not signed in, of `<id of this plugin>.<name>`. The payload has to be JSON. */
export function broadcast(name: string, payload: unknown): void {
  callHost(() => host.broadcast(name, text(payload)));
}

/** Tells the pages of these users, by their ids. */
export function sendToUsers(name: string, payload: unknown, users: readonly string[]): void {
  callHost(() => host.sendToUsers(name, text(payload), [...users]));
}

/** Tells the pages of those of these users who have been granted an access rule: `<resource>.<level>` is one of the plugin's own. */
export function sendToAuthorizedUsers(name: string, payload: unknown, users: readonly string[], rule: string): void {
  callHost(() => host.sendToAuthorizedUsers(name, text(payload), [...users], rule));
}

function text(payload: unknown): string {
  return JSON.stringify(payload ?? null);
}
