// Procedures: what a plugin offers to callers, with types, access rules and a description that clients are made of.

import type { Static, TSchema } from "typebox";
import { HttpError } from "./errors.ts";

/** A permission that the plugin defines. An admin grants it by its id, `<plugin id>.<resource>.<level>`. */
export interface AccessRule {
  resource: string;
  /** Who may `manage` something may not by that `read` it. */
  level: "read" | "manage";
  description: string;
  /** Granted to every user, unless an admin has said otherwise. */
  isDefault?: boolean;
  /** Granted to everybody, unless an admin has said otherwise. */
  isPublic?: boolean;
}

/** Who calls, as the server knows it. */
export type ProcedureCaller =
  | { readonly kind: "anonymous" }
  | { readonly kind: "user" | "application"; readonly id: string; readonly name: string }
  | { readonly kind: "plugin"; readonly id: string };

/** A call, beside its input. */
export interface Call {
  readonly caller: ProcedureCaller;
  /** Ties together the log lines of one call over all plugins it touches. */
  readonly correlationId: string;
}

/** One procedure. */
export interface ProcedureDefinition<Config, Input extends TSchema, Output extends TSchema> {
  /** What it does, in a line. */
  summary?: string;
  /** More about it, in Markdown. */
  description?: string;
  /**
   * For whom it is. `authenticated`, which it is unless said otherwise: whoever has shown who they are; `public`: everybody who
   * has the rules; `anonymous`: everybody, whatever rules there are; `user`: people only; `service`: plugins only.
   */
  userType?: "anonymous" | "public" | "authenticated" | "user" | "service";
  /** The rules that its caller needs: `<resource>.<level>` of this plugin, or with another's id in front. */
  access?: readonly string[];
  /**
   * The rules are about single objects, which a team may have been granted: the path of fields to the id of one in the input, or
   * the field of the output that lists them or has them by id.
   */
  instanceAccess?: { idParam: string } | { listKey: string } | { recordKey: string };
  /** Which plugins may call it, by id or by `prefix*`; all when empty. */
  serviceScope?: readonly string[];
  /** What it takes; without it, nothing. */
  input?: Input;
  /** What it gives; without it, nothing. */
  output?: Output;
  /** Does it. Throws a {@link HttpError} to refuse. */
  run(input: Static<Input>, config: Config, call: Call): Static<Output>;
}

/** A call as the host hands it over. */
export interface HostCall {
  procedure: string;
  input: string | null;
  caller: HostCaller;
  correlationId: string;
}

type HostCaller =
  | { tag: "anonymous" }
  | { tag: "user" | "application"; val: { id: string; name: string } }
  | { tag: "plugin"; val: string };

interface Offered<Config> {
  described: object;
  givesNothing: boolean;
  run(input: unknown, config: Config, call: Call): unknown;
}

/**
 * The procedures of a plugin, and the access rules that it defines.
 *
 * The server serves them at `/api/<plugin id>/<path>` (RPC) and `/rest/<plugin id>/<path>`, for callers outside and for other
 * plugins, and describes them in `/api/openapi.json`. Before one runs, the server has checked that its caller may make the call,
 * and that the input is what its schema says; afterwards it checks the output in the same way. Both are JSON.
 */
export class Procedures<Config> {
  private readonly rules: AccessRule[] = [];
  private readonly offered = new Map<string, Offered<Config>>();

  /** Defines an access rule. */
  rule(rule: AccessRule): this {
    this.rules.push(rule);
    return this;
  }

  /** One that only looks. */
  query<Input extends TSchema, Output extends TSchema>(path: string, definition: ProcedureDefinition<Config, Input, Output>): this {
    return this.add("query", path, definition);
  }

  /** One that may change something. */
  mutation<Input extends TSchema, Output extends TSchema>(path: string, definition: ProcedureDefinition<Config, Input, Output>): this {
    return this.add("mutation", path, definition);
  }

  /** As the server reads it; null when there is nothing in it. */
  contract(): string | null {
    if (this.rules.length === 0 && this.offered.size === 0) return null;
    const procedures = Object.fromEntries([...this.offered].map(([path, { described }]) => [path, described]));
    return JSON.stringify({ accessRules: this.rules, procedures });
  }

  /** Runs one. The output is a JSON text; null where there is none. */
  run({ procedure, input, caller, correlationId }: HostCall, config: Config): string | null {
    const offered = this.offered.get(procedure);
    if (offered === undefined) throw new HttpError(501, `there is no procedure '${procedure}'`);
    const given = input === null ? undefined : (JSON.parse(input) as unknown);
    const output = offered.run(given, config, { caller: fromHost(caller), correlationId });
    if (output instanceof Promise) throw new TypeError(`procedure ${procedure} returned a promise; it must be synchronous`);
    return offered.givesNothing ? null : (JSON.stringify(output) ?? null);
  }

  private add<Input extends TSchema, Output extends TSchema>(
    operation: "query" | "mutation",
    path: string,
    { run, ...described }: ProcedureDefinition<Config, Input, Output>,
  ): this {
    if (this.offered.has(path)) throw new Error(`procedure ${path} is there already`);
    const givesNothing = described.output === undefined;
    this.offered.set(path, { described: { operation, ...described }, givesNothing, run: run as Offered<Config>["run"] });
    return this;
  }
}

function fromHost(caller: HostCaller): ProcedureCaller {
  switch (caller.tag) {
    case "anonymous":
      return { kind: "anonymous" };
    case "plugin":
      return { kind: "plugin", id: caller.val };
    default:
      return { kind: caller.tag, ...caller.val };
  }
}

const CODES: Record<number, string> = {
  401: "UNAUTHORIZED",
  403: "FORBIDDEN",
  404: "NOT_FOUND",
  408: "TIMEOUT",
  409: "CONFLICT",
  412: "PRECONDITION_FAILED",
  413: "PAYLOAD_TOO_LARGE",
  422: "UNPROCESSABLE_CONTENT",
  429: "TOO_MANY_REQUESTS",
  501: "NOT_IMPLEMENTED",
  502: "BAD_GATEWAY",
  503: "SERVICE_UNAVAILABLE",
  504: "GATEWAY_TIMEOUT",
};

/** What the caller of a procedure reads as the kind of an error. */
export function codeFor(status: number): string {
  return CODES[status] ?? (status < 500 ? "BAD_REQUEST" : "INTERNAL_SERVER_ERROR");
}
