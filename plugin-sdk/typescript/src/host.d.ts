// The imports of the plugin world as QuickJS sees them: a result is returned or thrown, an absent
// option is null and must be passed, a variant is { tag, val }.

declare module "checkstack:plugin/log@0.2.0" {
  export function write(level: "trace" | "debug" | "info" | "warn" | "error", message: string, fields: { name: string; value: string }[]): void;
}

declare module "checkstack:plugin/config@0.2.0" {
  export function get(): string;
  export function version(): number;
}

declare module "checkstack:plugin/clock@0.2.0" {
  /** Microseconds since 1970. */
  export function now(): number;
  /** Nanoseconds. */
  export function monotonic(): number;
}

declare module "checkstack:plugin/key-value@0.2.0" {
  export function get(key: string): Uint8Array | null;
  export function set(key: string, value: Uint8Array, ttl: number | null): void;
  export function delete_(key: string): boolean;
  export { delete_ as delete };
  export function keys(prefix: string, after: string | null, limit: number): string[];
}

declare module "checkstack:plugin/settings@0.2.0" {
  export interface Setting {
    version: number;
    data: string;
    revision: number;
    originalVersion: number | null;
    migratedAt: number | null;
  }
  export function get(id: string, version: number): Setting | null;
  export function set(id: string, version: number, data: string): void;
  export function migrate(id: string, source: Setting, version: number, data: string): Setting | null;
  export function delete_(id: string): boolean;
  export { delete_ as delete };
  export function ids(after: string | null, limit: number): string[];
}

declare module "checkstack:plugin/jobs@0.2.0" {
  export function enqueue(queue: string, data: string, options: { priority: number; delay: number; id: string | null }): string;
  export function schedule(
    queue: string,
    id: string,
    data: string,
    recurrence: { tag: "interval"; val: number } | { tag: "cron"; val: { pattern: string; timeZone: string } },
  ): void;
  export function cancel(queue: string, id: string): boolean;
  export function scheduled(queue: string): string[];
}

declare module "checkstack:plugin/events@0.2.0" {
  export function emit(name: string, payload: string): void;
}

declare module "checkstack:plugin/entities@0.2.0" {
  import type { Statement } from "checkstack:plugin/sql@0.2.0";
  export interface Change {
    sequence: number;
    id: string;
    before: string | null;
    after: string | null;
    changedFields: string[];
    occurredAt: number;
  }
  export interface Mutation {
    touched: number[];
    change: Change | null;
  }
  export function mutate(kind: string, id: string, statements: Statement[]): Mutation;
  export function remove(kind: string, id: string, statements: Statement[]): Mutation;
  export function inStateSince(kind: string, id: string, field: string): { at: number; ago: number } | null;
  export function transitionCount(kind: string, id: string, field: string, within: number): number;
}

declare module "checkstack:plugin/signals@0.2.0" {
  export function broadcast(name: string, payload: string): void;
  export function sendToUsers(name: string, payload: string, users: string[]): void;
  export function sendToAuthorizedUsers(name: string, payload: string, users: string[], rule: string): void;
}

declare module "checkstack:plugin/cache@0.2.0" {
  export function get(key: string): Uint8Array | null;
  export function set(key: string, value: Uint8Array, ttl: number | null): void;
  export function delete_(key: string): boolean;
  export { delete_ as delete };
  export function deleteByPrefix(prefix: string): number;
}

declare module "checkstack:plugin/sql@0.2.0" {
  export type Value =
    | { tag: "null" }
    | { tag: "boolean"; val: boolean }
    | { tag: "integer"; val: number }
    | { tag: "float"; val: number }
    | { tag: "text"; val: string }
    | { tag: "bytes"; val: Uint8Array }
    | { tag: "timestamp"; val: number }
    | { tag: "json"; val: string }
    | { tag: "uuid"; val: string }
    | { tag: "numeric"; val: string };
  export interface Statement {
    text: string;
    parameters: Value[];
  }
  export function query(statement: Statement): { columns: string[]; rows: Value[][] };
  export function execute(statement: Statement): number;
  export function transact(statements: Statement[]): number[];
}

declare module "checkstack:plugin/http-client@0.2.0" {
  export function send(request: {
    method: string;
    url: string;
    headers: { name: string; value: string }[];
    body: Uint8Array;
    timeout: number | null;
  }): { status: number; headers: { name: string; value: string }[]; body: Uint8Array };
}

declare module "checkstack:plugin/plugins@0.2.0" {
  export function call(
    pluginId: string,
    request: { method: string; path: string; query: string | null; headers: { name: string; value: string }[]; body: Uint8Array },
  ): { status: number; headers: { name: string; value: string }[]; body: Uint8Array };
}
