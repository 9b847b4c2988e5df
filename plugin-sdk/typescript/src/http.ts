// Outgoing HTTP to the hosts that `spec.grants.http` allows. Redirects are answered, not followed.

import * as host from "checkstack:plugin/http-client@0.2.0";
import { callHost } from "./errors.ts";
import { outgoing, Reply, type OutgoingOptions } from "./outgoing.ts";

/** What a request carries. */
export interface HttpOptions extends OutgoingOptions {
  /** For the whole exchange. The server's limit is 30,000, which is the default. */
  timeoutMilliseconds?: number;
}

/** Sends a request to an absolute URL and waits for the answer. Throws a `HostError` when there is none. */
export function fetch(url: string, options: HttpOptions = {}): Reply {
  const { status, headers, body } = callHost(() => host.send({ url, timeout: options.timeoutMilliseconds ?? null, ...outgoing(options) }));
  return new Reply(status, headers, body);
}
