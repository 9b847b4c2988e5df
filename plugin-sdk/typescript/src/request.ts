import { HttpError, messageOf } from "./errors.ts";
import { decode } from "./text.ts";

/** One header field; names are lower case. */
export interface Header {
  name: string;
  value: string;
}

/** Who makes a request, as the server knows it. */
export type Caller = { tag: "anonymous" } | { tag: "plugin"; val: string };

/** A request as the host hands it over. */
export interface HostRequest {
  method: string;
  path: string;
  query: string | null;
  headers: Header[];
  body: Uint8Array;
  caller: Caller;
  correlationId: string;
}

/** A request to `/api/<plugin id>/…`. */
export class Request<Params = Record<string, string>> {
  constructor(
    private readonly given: HostRequest,
    /** The decoded values of `{name}` in the route. */
    readonly params: Params,
  ) {}

  /** Upper case. */
  get method(): string {
    return this.given.method;
  }

  /** Below `/api/<plugin id>`, beginning with `/`, not decoded. */
  get path(): string {
    return this.given.path;
  }

  /** What follows `?`, not decoded. */
  get query(): string | null {
    return this.given.query;
  }

  get headers(): readonly Header[] {
    return this.given.headers;
  }

  get body(): Uint8Array {
    return this.given.body;
  }

  /** The id of the plugin that asks; null when nobody in particular does. */
  get callingPlugin(): string | null {
    const { caller } = this.given;
    return caller.tag === "plugin" ? caller.val : null;
  }

  /** Ties together the log lines of one request over all plugins it touches. */
  get correlationId(): string {
    return this.given.correlationId;
  }

  /** The first header of that name. */
  header(name: string): string | undefined {
    return findHeader(this.given.headers, name);
  }

  /** The decoded value of the first `name=` in the query. */
  queryValue(name: string): string | undefined {
    if (this.given.query === null) return undefined;
    for (const pair of this.given.query.split("&")) {
      const equals = pair.indexOf("=");
      const key = equals < 0 ? pair : pair.slice(0, equals);
      if (decodeQuery(key) === name) return equals < 0 ? "" : decodeQuery(pair.slice(equals + 1));
    }
    return undefined;
  }

  /** The token of `Authorization: Bearer <token>`. */
  bearerToken(): string | undefined {
    const value = this.header("authorization");
    return value !== undefined && value.slice(0, 7).toLowerCase() === "bearer " ? value.slice(7).trim() : undefined;
  }

  /** The body as text; 400 when it is no UTF-8. */
  text(): string {
    try {
      return decode(this.given.body);
    } catch {
      throw new HttpError(400, "the body is not UTF-8");
    }
  }

  /** The body read as JSON, of any form: check it. 400 when it is no JSON. */
  json(): unknown {
    try {
      return JSON.parse(this.text());
    } catch (thrown) {
      if (thrown instanceof HttpError) throw thrown;
      throw new HttpError(400, `the body is not JSON: ${messageOf(thrown)}`);
    }
  }
}

/** The first header of that name. */
export function findHeader(headers: readonly Header[], name: string): string | undefined {
  const wanted = name.toLowerCase();
  for (const header of headers) {
    if (header.name === wanted) return header.value;
  }
  return undefined;
}

function decodeQuery(text: string): string {
  const spaced = text.includes("+") ? text.replaceAll("+", " ") : text;
  if (!spaced.includes("%")) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
