import { HttpError, type Request } from "@checkstack/plugin-sdk";
import type { Settings } from "./settings.ts";

/** Lets pass who knows the token. */
export function requireAdmin(request: Request, settings: Settings): void {
  if (settings.adminToken === null) {
    throw new HttpError(403, "announcements are switched off: the plugin has no `adminToken` in its configuration");
  }
  const token = request.bearerToken();
  if (token === undefined) throw new HttpError(401, "send the admin token as `Authorization: Bearer <token>`");
  if (!equalInConstantTime(token, settings.adminToken)) throw new HttpError(403, "this is not the admin token");
}

/** Compares without telling by its duration how much of the text was right. */
export function equalInConstantTime(given: string, secret: string): boolean {
  let difference = given.length ^ secret.length;
  for (let index = 0; index < given.length; index += 1) {
    difference |= given.charCodeAt(index) ^ secret.charCodeAt(index % secret.length);
  }
  return difference === 0;
}
