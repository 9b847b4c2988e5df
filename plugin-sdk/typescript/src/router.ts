import { Request, type HostRequest } from "./request.ts";
import { Response } from "./response.ts";

/** The parameters of a pattern: `/a/{b}/{*c}` has `b` and `c`. */
export type Params<Pattern extends string> = { readonly [Name in ParamNames<Pattern>]: string };

type ParamNames<Pattern extends string> = Pattern extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `*${infer Tail}` ? Tail : Name) | ParamNames<Rest>
  : never;

/** Answers a request. It is synchronous, like everything that the server does for it. */
export type Handler<Config, Pattern extends string = string> = (request: Request<Params<Pattern>>, config: Config) => Response;

interface Route<Config> extends ParsedPattern {
  method: string;
  handler: Handler<Config, never>;
}

interface ParsedPattern {
  /** Null stands for a parameter. */
  segments: (string | null)[];
  /** The last parameter takes all that follows. */
  open: boolean;
  names: string[];
}

const NO_PARAMS = Object.freeze({});

/**
 * The routes of a plugin.
 *
 * A pattern is a path below `/api/<plugin id>`: `/targets/{name}/history`. `{name}` stands for one
 * segment, `{*rest}` at the end for all that follow. A pattern without parameters wins over one with
 * them; otherwise the one that was added first. `HEAD` is answered by the `GET` handler; a path that
 * exists only for other methods answers 405 with `Allow`.
 */
export class Router<Config> {
  /** By path, then by method. */
  private readonly exact = new Map<string, Map<string, Handler<Config, never>>>();
  private readonly patterns: Route<Config>[] = [];

  get<Pattern extends string>(pattern: Pattern, handler: Handler<Config, Pattern>): this {
    return this.route("GET", pattern, handler);
  }

  post<Pattern extends string>(pattern: Pattern, handler: Handler<Config, Pattern>): this {
    return this.route("POST", pattern, handler);
  }

  put<Pattern extends string>(pattern: Pattern, handler: Handler<Config, Pattern>): this {
    return this.route("PUT", pattern, handler);
  }

  patch<Pattern extends string>(pattern: Pattern, handler: Handler<Config, Pattern>): this {
    return this.route("PATCH", pattern, handler);
  }

  delete<Pattern extends string>(pattern: Pattern, handler: Handler<Config, Pattern>): this {
    return this.route("DELETE", pattern, handler);
  }

  /** Any method, upper case. Throws when the pattern is none or is there already. */
  route<Pattern extends string>(method: string, pattern: Pattern, handler: Handler<Config, Pattern>): this {
    const route = { method, handler: handler as Handler<Config, never>, ...parse(pattern) };
    const same = (other: Route<Config>) => other.method === method && other.open === route.open && other.segments.join("/") === route.segments.join("/");
    if (route.names.length > 0) {
      if (this.patterns.some(same)) throw new Error(`route ${method} ${pattern} is there already`);
      this.patterns.push(route);
      return this;
    }
    const methods = this.exact.get(pattern) ?? new Map<string, Handler<Config, never>>();
    if (methods.has(method)) throw new Error(`route ${method} ${pattern} is there already`);
    this.exact.set(pattern, methods.set(method, route.handler));
    return this;
  }

  /** Answers a request. */
  answer(given: HostRequest, config: Config): Response {
    const { path } = given;
    const method = given.method === "HEAD" ? "GET" : given.method;
    const methods = this.exact.get(path);
    const handler = methods?.get(method);
    if (handler !== undefined) return handler(new Request<never>(given, NO_PARAMS as never), config);
    const allowed = methods === undefined ? [] : [...methods.keys()];
    if (this.patterns.length > 0) {
      const parts = path.split("/");
      for (const route of this.patterns) {
        const params = fit(route, parts);
        if (params === null) continue;
        if (route.method === method) return route.handler(new Request<never>(given, params as never), config);
        allowed.push(route.method);
      }
    }
    if (allowed.length === 0) return refusal(404, "not_found", "there is nothing here");
    const allow = [...new Set(allowed)].sort().join(", ");
    return refusal(405, "method_not_allowed", `this answers ${allow} only`, { name: "allow", value: allow });
  }
}

/** The answer to a request that is not answered as asked. */
export function refusal(status: number, error: string, message: string, ...headers: { name: string; value: string }[]): Response {
  return new Response(status, [{ name: "content-type", value: "application/json" }, ...headers], JSON.stringify({ error, message }));
}

function parse(pattern: string): ParsedPattern {
  if (!pattern.startsWith("/")) throw new Error(`route ${pattern}: a pattern begins with '/'`);
  const segments: (string | null)[] = [];
  const names: string[] = [];
  let open = false;
  for (const part of pattern.split("/")) {
    if (open) throw new Error(`route ${pattern}: '{*name}' is the last segment`);
    const parameter = /^\{(\*?)([^{}]+)\}$/.exec(part);
    if (parameter === null && /[{}]/.test(part)) throw new Error(`route ${pattern}: a parameter is a whole segment: '{name}'`);
    if (parameter === null) {
      segments.push(part);
      continue;
    }
    open = parameter[1] === "*";
    if (names.includes(parameter[2]!)) throw new Error(`route ${pattern}: two parameters have one name`);
    names.push(parameter[2]!);
    segments.push(null);
  }
  return { segments, open, names };
}

function fit({ segments, open, names }: ParsedPattern, parts: string[]): Record<string, string> | null {
  if (open ? parts.length < segments.length : parts.length !== segments.length) return null;
  const params: Record<string, string> = {};
  let parameter = 0;
  for (let index = 0; index < segments.length; index += 1) {
    const segment = segments[index];
    if (segment !== null) {
      if (segment !== parts[index]) return null;
      continue;
    }
    const rest = open && index === segments.length - 1;
    const value = decodeSegment(rest ? parts.slice(index).join("/") : parts[index]!);
    if (value === null || (value === "" && !rest)) return null;
    params[names[parameter]!] = value;
    parameter += 1;
  }
  return params;
}

function decodeSegment(segment: string): string | null {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}
