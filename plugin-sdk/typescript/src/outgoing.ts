import { HostError, messageOf } from "./errors.ts";
import { findHeader, type Header } from "./request.ts";
import { decode, encode } from "./text.ts";

/** What a request to somebody else carries. */
export interface OutgoingOptions {
  /** `GET` without a body, `POST` with one. */
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** A body as JSON, with its content type. */
  json?: unknown;
}

/** The answer of somebody else, whatever its status. */
export class Reply {
  constructor(
    readonly status: number,
    readonly headers: readonly Header[],
    readonly body: Uint8Array,
  ) {}

  /** Whether the status is 200 to 299. */
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  /** The first header of that name. */
  header(name: string): string | undefined {
    return findHeader(this.headers, name);
  }

  /** The body as text. */
  text(): string {
    return read(() => decode(this.body), "UTF-8");
  }

  /** The body read as JSON, of any form: check it. */
  json<T = unknown>(): T {
    return read(() => JSON.parse(decode(this.body)) as T, "JSON");
  }
}

function read<T>(how: () => T, form: string): T {
  try {
    return how();
  } catch (thrown) {
    throw new HostError("unexpected", `the answer is not ${form}: ${messageOf(thrown)}`);
  }
}

/** The parts of a request that are the same for every addressee. */
export function outgoing(options: OutgoingOptions): { method: string; headers: Header[]; body: Uint8Array } {
  const body = options.json === undefined ? options.body : JSON.stringify(options.json);
  const given = options.headers ?? {};
  const headers = Object.keys(given).map((name) => ({ name: name.toLowerCase(), value: given[name]! }));
  if (options.json !== undefined && findHeader(headers, "content-type") === undefined) {
    headers.push({ name: "content-type", value: "application/json" });
  }
  return {
    method: options.method ?? (body === undefined ? "GET" : "POST"),
    headers,
    body: body === undefined ? new Uint8Array(0) : typeof body === "string" ? encode(body) : body,
  };
}
