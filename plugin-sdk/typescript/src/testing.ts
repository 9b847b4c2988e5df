// A server in memory, for tests of a plugin with `checkstack-plugin-test`.

import { componentOf } from "./component.ts";
import { InvalidConfig, ProcedureError } from "./errors.ts";
import type { Actor } from "./events.ts";
import { PermanentFailure } from "./jobs.ts";
import type { Plugin } from "./plugin.ts";
import type { HostCall, ProcedureCaller } from "./procedures.ts";
import type { Header } from "./request.ts";
import { decode, encode } from "./text.ts";

/** What the server does for the plugin; what is left out is denied, like a missing grant. */
export interface TestServer {
  config?: Record<string, unknown>;
  /** Which version of its format that has: 1 unless said otherwise. */
  configVersion?: number;
  /** Settings that are there before. */
  settings?: Map<string, TestSetting[]>;
  /** Answers statements: rows for a query, a number of rows otherwise. */
  sql?: (text: string, parameters: unknown[]) => Record<string, unknown>[] | number;
  /** Answers outgoing HTTP. */
  http?: (method: string, url: string, body: string) => TestReply;
  /** Answers requests to other plugins; null when the plugin is not running. */
  peers?: (pluginId: string, method: string, path: string, body: string) => TestReply | null;
  /** Microseconds since 1970; without it, the time that it is. */
  now?: () => number;
}

/** A record of a setting. */
export interface TestSetting {
  version: number;
  data: unknown;
}

/** A job that was enqueued. */
export interface TestJob {
  queue: string;
  id: string;
  data: unknown;
  priority: number;
  delayMilliseconds: number;
}

/** An answer as a test writes and reads it. */
export interface TestReply {
  status?: number;
  headers?: Record<string, string>;
  body?: string | object;
}

/** What a request to the plugin carries. */
export interface TestRequest {
  headers?: Record<string, string>;
  body?: string | object;
  callingPlugin?: string;
}

/** A plugin that runs in a server in memory. */
export interface RunningPlugin {
  /** Calls a procedure, which nobody guards or checks here. Throws a `ProcedureError` when the plugin says no. */
  call<T = any>(procedure: string, input?: unknown, caller?: ProcedureCaller): T;
  request(method: string, path: string, request?: TestRequest): { status: number; headers: Record<string, string>; text: string; json<T = any>(): T };
  /** Has a job done, as the server would. Throws what it throws: a `PermanentFailure`, or an error after which it is tried again. */
  work(queue: string, data: unknown, attempts?: number): void;
  /** Tells it of an event, as the server would. Throws what it throws. */
  tell(event: string, payload: unknown, options?: { workerGroup?: string; actor?: Actor; attempts?: number }): void;
  /** Events that it has emitted, in order. */
  readonly events: { name: string; payload: unknown }[];
  /** Changes of entities that it has made, in order, with the texts of their statements, which the test's `sql` answers. */
  readonly changes: { kind: string; id: string; removes: boolean; statements: string[] }[];
  /** Signals that it has sent to browsers, in order: to all, to users, or to those of them who have been granted a rule. */
  readonly signals: { name: string; payload: unknown; users: string[] | null; rule: string | null }[];
  /** What is in the cache: text by key. */
  readonly cache: Map<string, { text: string; ttlMilliseconds: number | null }>;
  /** Jobs that were enqueued, in order. */
  readonly jobs: TestJob[];
  /** Schedules by queue and id: `mail/digest`. */
  readonly schedules: Map<string, { data: unknown; recurrence: object }>;
  /** The outcome of a probe. */
  probe(name: string): { ok: boolean; message: string | null };
  /** What is in the key-value store: text by key. */
  readonly kv: Map<string, { text: string; ttlSeconds: number | null }>;
  /** The settings: the record of each version, oldest first, by id. */
  readonly settings: Map<string, TestSetting[]>;
  /** What was logged. */
  readonly log: { level: string; message: string }[];
}

/** Starts a plugin. Throws what `init` throws. */
export function start<Config>(plugin: Plugin<Config>, server: TestServer = {}): RunningPlugin {
  provideBase64();
  const kv: RunningPlugin["kv"] = new Map();
  const settings: RunningPlugin["settings"] = server.settings ?? new Map();
  const log: RunningPlugin["log"] = [];
  const jobs: TestJob[] = [];
  const schedules: RunningPlugin["schedules"] = new Map();
  const events: RunningPlugin["events"] = [];
  const changes: RunningPlugin["changes"] = [];
  const signals: RunningPlugin["signals"] = [];
  const signal = (name: string, payload: string, users: string[] | null = null, rule: string | null = null) =>
    void signals.push({ name, payload: JSON.parse(payload), users, rule });
  const cache: RunningPlugin["cache"] = new Map();
  const reply = ({ status = 200, headers = {}, body = "" }: TestReply) => ({ status, headers: entries(headers), body: encode(asText(body)) });

  (globalThis as Record<string, unknown>)["checkstackTestHost"] = {
    log: { write: (level: string, message: string) => void log.push({ level, message }) },
    config: { get: () => JSON.stringify(server.config ?? {}), version: () => server.configVersion ?? 1 },
    clock: { now: server.now ?? (() => Date.now() * 1_000), monotonic: () => Math.round(performance.now() * 1_000_000) },
    "key-value": {
      get: (key: string) => (kv.has(key) ? encode(kv.get(key)!.text) : null),
      set: (key: string, value: Uint8Array, ttlSeconds: number | null) => void kv.set(key, { text: decode(value), ttlSeconds }),
      delete: (key: string) => kv.delete(key),
      keys: (prefix: string, after: string | null, limit: number) =>
        [...kv.keys()].filter((key) => key.startsWith(prefix) && (after === null || key > after)).sort().slice(0, limit),
    },
    settings: settingsIn(settings),
    jobs: jobsIn(plugin.queues ?? {}, jobs, schedules),
    events: { emit: (name: string, payload: string) => void events.push({ name, payload: JSON.parse(payload) }) },
    entities: entitiesIn(server, plugin.entities ?? {}, changes),
    signals: { broadcast: signal, sendToUsers: signal, sendToAuthorizedUsers: signal },
    cache: {
      get: (key: string) => (cache.has(key) ? encode(cache.get(key)!.text) : null),
      set: (key: string, value: Uint8Array, ttlMilliseconds: number | null) => void cache.set(key, { text: decode(value), ttlMilliseconds }),
      delete: (key: string) => cache.delete(key),
      deleteByPrefix: (prefix: string) => [...cache.keys()].filter((key) => key.startsWith(prefix) && cache.delete(key)).length,
    },
    sql: {
      query: (statement: HostStatement) => rowsOf(answerSql(server, statement)),
      execute: (statement: HostStatement) => Number(answerSql(server, statement)),
      transact: (statements: HostStatement[]) => statements.map((statement) => Number(answerSql(server, statement))),
    },
    "http-client": {
      send: (request: { method: string; url: string; body: Uint8Array }) =>
        reply((server.http ?? denied("http"))(request.method, request.url, decode(request.body))),
    },
    plugins: {
      call: (id: string, request: { method: string; path: string; query: string | null; body: Uint8Array }) => {
        const path = request.query === null ? request.path : `${request.path}?${request.query}`;
        const answer = (server.peers ?? denied("a dependency"))(id, request.method, path, decode(request.body));
        if (answer === null) throw refusal("unavailable", `plugin '${id}' is not running`);
        return reply(answer);
      },
    },
  };

  const component = componentOf(plugin);
  const starting = (step: () => void) => {
    try {
      step();
    } catch (thrown) {
      const { tag, val } = thrown as { tag: string; val: string };
      throw tag === "invalid-config" ? new InvalidConfig(val) : new Error(val);
    }
  };
  starting(() => component.lifecycle.init());
  starting(() => component.lifecycle.afterPluginsReady());

  return {
    kv,
    settings,
    log,
    jobs,
    schedules,
    events,
    changes,
    signals,
    cache,
    work: (queue, data, attempts = 0) =>
      working(() => component.worker.work({ queue, id: "test", data: JSON.stringify(data), attempts, enqueuedAt: Date.now() * 1_000 })),
    tell: (name, payload, { workerGroup = null, actor = SYSTEM, attempts = 0 }: { workerGroup?: string | null; actor?: Actor; attempts?: number } = {}) =>
      working(() => component.listener.handle({ name, workerGroup, payload: JSON.stringify(payload ?? null), actor, attempts })),
    probe: (name) => component.readiness.check(name),
    call(procedure, input, caller = { kind: "anonymous" }) {
      const call: HostCall = { procedure, input: input === undefined ? null : JSON.stringify(input), caller: toHost(caller), correlationId: "test" };
      try {
        const output = component.procedures.run(call);
        return output === null ? undefined : JSON.parse(output);
      } catch (thrown) {
        const { code, message } = thrown as { code: string; message: string | null };
        throw new ProcedureError(code, message ?? code);
      }
    },
    request(method, pathAndQuery, { headers = {}, body = "", callingPlugin } = {}) {
      const question = pathAndQuery.indexOf("?");
      const response = component.handler.handle({
        method,
        path: question < 0 ? pathAndQuery : pathAndQuery.slice(0, question),
        query: question < 0 ? null : pathAndQuery.slice(question + 1),
        headers: entries(headers),
        body: encode(asText(body)),
        caller: callingPlugin === undefined ? { tag: "anonymous" } : { tag: "plugin", val: callingPlugin },
        correlationId: "test",
      });
      const text = decode(response.body);
      return {
        status: response.status,
        headers: Object.fromEntries(response.headers.map(({ name, value }) => [name, value])),
        text,
        json: () => JSON.parse(text),
      };
    },
  };
}

const SYSTEM: Actor = { kind: "system", id: "system", name: "System" };

function working(work: () => void): void {
  try {
    work();
  } catch (thrown) {
    const { tag, val } = thrown as { tag: string; val: string };
    throw tag === "permanent" ? new PermanentFailure(val) : new Error(val);
  }
}

/** Nothing is done by itself: see `work`. */
function jobsIn(queues: object, jobs: TestJob[], schedules: RunningPlugin["schedules"]) {
  const known = (queue: string) => {
    if (!(queue in queues)) throw refusal("invalid", `the plugin describes no queue '${queue}'`);
  };
  return {
    enqueue(queue: string, data: string, { priority, delay, id }: { priority: number; delay: number; id: string | null }) {
      known(queue);
      const waiting = id !== null && jobs.some((job) => job.queue === queue && job.id === id);
      const job = { queue, id: id ?? `job-${jobs.length + 1}`, data: JSON.parse(data), priority, delayMilliseconds: delay };
      if (!waiting) jobs.push(job);
      return job.id;
    },
    schedule(queue: string, id: string, data: string, recurrence: { tag: string; val: object }) {
      known(queue);
      schedules.set(`${queue}/${id}`, { data: JSON.parse(data), recurrence });
    },
    cancel: (queue: string, id: string) => schedules.delete(`${queue}/${id}`),
    scheduled: (queue: string) => [...schedules.keys()].filter((key) => key.startsWith(`${queue}/`)).map((key) => key.slice(queue.length + 1)),
  };
}

/** There is no database that could say what is different: nothing ever is, and nothing is known of the past. */
function entitiesIn(server: TestServer, kinds: object, changes: RunningPlugin["changes"]) {
  const known = (kind: string) => {
    if (!(kind in kinds)) throw refusal("invalid", `the plugin describes no kind of entities '${kind}'`);
  };
  const change = (removes: boolean) => (kind: string, id: string, statements: HostStatement[]) => {
    known(kind);
    const touched = statements.map((statement) => Number(answerSql(server, statement)));
    changes.push({ kind, id, removes, statements: statements.map(({ text }) => text) });
    return { touched, change: null };
  };
  const nothing = <T>(value: T) => (kind: string) => {
    known(kind);
    return value;
  };
  return { mutate: change(false), remove: change(true), inStateSince: nothing(null), transitionCount: nothing(0) };
}

function toHost(caller: ProcedureCaller): HostCall["caller"] {
  switch (caller.kind) {
    case "anonymous":
      return { tag: "anonymous" };
    case "plugin":
      return { tag: "plugin", val: caller.id };
    default:
      return { tag: caller.kind, val: { id: caller.id, name: caller.name } };
  }
}

/** Each version of a setting has a record of its own. */
function settingsIn(records: Map<string, TestSetting[]>) {
  const get = (id: string, version: number) => {
    const all = records.get(id) ?? [];
    const index = all.findLastIndex((record) => record.version <= version);
    if (index >= 0) return { version: all[index]!.version, data: JSON.stringify(all[index]!.data), revision: 1, originalVersion: null, migratedAt: null };
    if (all.length > 0) throw refusal("newer", all[0]!.version);
    return null;
  };
  const set = (id: string, version: number, data: string) => {
    const older = (records.get(id) ?? []).filter((record) => record.version < version);
    records.set(id, [...older, { version, data: JSON.parse(data) }]);
  };
  const migrate = (id: string, _source: object, version: number, data: string) => {
    set(id, version, data);
    return get(id, version);
  };
  const ids = (after: string | null, limit: number) => [...records.keys()].filter((id) => after === null || id > after).sort().slice(0, limit);
  return { get, set, migrate, ids, delete: (id: string) => records.delete(id) };
}

interface HostStatement {
  text: string;
  parameters: { tag: string; val?: unknown }[];
}

function answerSql(server: TestServer, { text, parameters }: HostStatement): Record<string, unknown>[] | number {
  return (server.sql ?? denied("database"))(text, parameters.map(({ val }) => val ?? null));
}

function rowsOf(answer: Record<string, unknown>[] | number): { columns: string[]; rows: unknown[][] } {
  const rows = typeof answer === "number" ? [] : answer;
  const columns = Object.keys(rows[0] ?? {});
  const value = (given: unknown) => {
    if (given === null || given === undefined) return { tag: "null" };
    if (given instanceof Date) return { tag: "timestamp", val: given.getTime() * 1_000 };
    if (given instanceof Uint8Array) return { tag: "bytes", val: given };
    if (typeof given === "object") return { tag: "json", val: JSON.stringify(given) };
    if (typeof given === "number") return { tag: Number.isInteger(given) ? "integer" : "float", val: given };
    return { tag: typeof given === "boolean" ? "boolean" : "text", val: given };
  };
  return { columns, rows: rows.map((row) => columns.map((column) => value(row[column]))) };
}

function denied(grant: string): () => never {
  return () => {
    throw refusal("denied", `the grant '${grant}' is missing`);
  };
}

/** What the engine makes of an error that the host returns. */
function refusal(tag: string, val: string | number): Error {
  return Object.assign(new Error("[object Object] (see error.payload)"), { payload: { tag, val } });
}

function entries(headers: Record<string, string>): Header[] {
  return Object.keys(headers).map((name) => ({ name: name.toLowerCase(), value: headers[name]! }));
}

function asText(body: string | object): string {
  return typeof body === "string" ? body : JSON.stringify(body);
}

/** Node has these two only in newer releases. */
function provideBase64(): void {
  Uint8Array.fromBase64 ??= (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  Uint8Array.prototype.toBase64 ??= function (this: Uint8Array) {
    return btoa(Array.from(this, (byte) => String.fromCharCode(byte)).join(""));
  };
}
