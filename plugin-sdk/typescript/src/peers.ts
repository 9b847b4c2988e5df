// Requests to the plugins that this one names in `checkstack.dependencies` of its package.json.

import * as host from "checkstack:plugin/plugins@0.2.0";
import { callHost, HostError, messageOf, ProcedureError } from "./errors.ts";
import { outgoing, Reply, type OutgoingOptions } from "./outgoing.ts";
import { decode, encode } from "./wire.ts";

/** What a request carries. */
export interface PeerOptions extends OutgoingOptions {
  query?: Record<string, string | number | boolean>;
}

/**
 * Calls a procedure of another plugin and returns its output. Throws a `ProcedureError` when it says no, and a `HostError` when
 * there is no answer. A `Date`, a `bigint`, a `Set` and a `Map` arrive as what they are, in both directions. `checkstack client` makes
 * functions of the procedures of a plugin that know their types.
 */
export function callProcedure<Output = unknown>(pluginId: string, path: string, input?: unknown): Output {
  const reply = call(pluginId, `/${path}`, { method: "POST", json: encode(input) });
  const output = read(reply);
  if (reply.ok) return output as Output;
  const { code, message } = (output ?? {}) as { code?: unknown; message?: unknown };
  if (typeof code !== "string") throw new HostError("unexpected", `the other plugin has no procedure ${path}: it answered ${reply.status}`);
  if (code === "SERVICE_UNAVAILABLE") throw new HostError("unavailable", String(message));
  throw new ProcedureError(code, String(message));
}

/** There is no `URL` in a plugin. */
function read(reply: Reply): unknown {
  const envelope = reply.json<object>();
  try {
    return decode(envelope, (text) => text);
  } catch (thrown) {
    throw new HostError("unexpected", `the other plugin's answer is not as expected: ${messageOf(thrown)}`);
  }
}

/** Sends a request to a path below `/api/<plugin id>`. Throws a `HostError` when there is no answer. */
export function call(pluginId: string, path: string, options: PeerOptions = {}): Reply {
  const given = options.query ?? {};
  const pairs = Object.keys(given).map((name) => `${encodeURIComponent(name)}=${encodeURIComponent(given[name]!)}`);
  const query = pairs.length === 0 ? null : pairs.join("&");
  const { status, headers, body } = callHost(() => host.call(pluginId, { path, query, ...outgoing(options) }));
  return new Reply(status, headers, body);
}
