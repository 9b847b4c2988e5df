import type { Header } from "./request.ts";
import { encode } from "./text.ts";

/** An answer to a request. */
export class Response {
  constructor(
    /** 200 to 599. */
    readonly status: number,
    readonly headers: Header[],
    readonly body: string | Uint8Array,
  ) {}
}

/** What differs from an ordinary answer. */
export interface ResponseOptions {
  status?: number;
  headers?: Record<string, string>;
}

const JSON_HEADERS: Header[] = [{ name: "content-type", value: "application/json" }];
const HTML_HEADERS: Header[] = [{ name: "content-type", value: "text/html; charset=utf-8" }];
const TEXT_HEADERS: Header[] = [{ name: "content-type", value: "text/plain; charset=utf-8" }];
const EMPTY_BODY = new Uint8Array(0);

/** A value as JSON. */
export function json(value: unknown, options?: ResponseOptions): Response {
  return respond(JSON_HEADERS, JSON.stringify(value), options);
}

/** A page. Whatever comes from elsewhere must have been escaped: {@link escapeHtml}. */
export function html(page: string, options?: ResponseOptions): Response {
  return respond(HTML_HEADERS, page, options);
}

/** A plain text. */
export function text(body: string, options?: ResponseOptions): Response {
  return respond(TEXT_HEADERS, body, options);
}

/** Bytes of any content type. */
export function bytes(contentType: string, body: Uint8Array, options?: ResponseOptions): Response {
  return respond([{ name: "content-type", value: contentType }], body, options);
}

/** Nothing: 204, or another status. */
export function empty(status = 204, headers?: Record<string, string>): Response {
  return respond([], EMPTY_BODY, headers === undefined ? { status } : { status, headers });
}

/** 303: what is asked for is to be had elsewhere, with `GET`. */
export function seeOther(location: string): Response {
  return empty(303, { location });
}

/** A text in which nothing is markup, for the content of elements and for quoted attributes. */
export function escapeHtml(text: string): string {
  return MARKUP.test(text) ? text.replace(ALL_MARKUP, (character) => ENTITIES[character]!) : text;
}

const MARKUP = /[&<>"']/;
const ALL_MARKUP = /[&<>"']/g;
const ENTITIES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function respond(base: Header[], body: string | Uint8Array, options: ResponseOptions | undefined): Response {
  if (options === undefined) return new Response(200, base, body);
  const given = options.headers;
  if (given === undefined) return new Response(options.status ?? 200, base, body);
  const headers = Object.keys(given).map((name) => ({ name: name.toLowerCase(), value: given[name]! }));
  for (const header of base) {
    if (!headers.some(({ name }) => name === header.name)) headers.push(header);
  }
  return new Response(options.status ?? 200, headers, body);
}

/** As the host takes it. */
export function toHost(response: Response): { status: number; headers: Header[]; body: Uint8Array } {
  const { status, headers, body } = response;
  return { status, headers, body: typeof body === "string" ? encode(body) : body };
}
