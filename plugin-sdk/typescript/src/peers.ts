// Requests to the plugins that this one names in `checkstack.dependencies` of its package.json.

import * as host from "checkstack:plugin/plugins@0.1.0";
import { callHost } from "./errors.ts";
import { outgoing, Reply, type OutgoingOptions } from "./outgoing.ts";

/** What a request carries. */
export interface PeerOptions extends OutgoingOptions {
  query?: Record<string, string | number | boolean>;
}

/** Sends a request to a path below `/api/<plugin id>`. Throws a `HostError` when there is no answer. */
export function call(pluginId: string, path: string, options: PeerOptions = {}): Reply {
  const given = options.query ?? {};
  const pairs = Object.keys(given).map((name) => `${encodeURIComponent(name)}=${encodeURIComponent(given[name]!)}`);
  const query = pairs.length === 0 ? null : pairs.join("&");
  const { status, headers, body } = callHost(() => host.call(pluginId, { path, query, ...outgoing(options) }));
  return new Reply(status, headers, body);
}
