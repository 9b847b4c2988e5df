// From the component's exports to a plugin. The build makes the component's entry with it.

import * as hostConfig from "checkstack:plugin/config@0.2.0";
import { HostError, HttpError, InvalidConfig, messageOf } from "./errors.ts";
import { deliveryOf, type HostDelivery, type HostEvent } from "./events.ts";
import { PermanentFailure, type HostJob } from "./jobs.ts";
import * as log from "./log.ts";
import type { Plugin } from "./plugin.ts";
import { codeFor, type HostCall } from "./procedures.ts";
import type { Header, HostRequest } from "./request.ts";
import { Response, toHost } from "./response.ts";
import { refusal } from "./router.ts";
import { VersionError, Versioned } from "./versioned.ts";

interface Component {
  lifecycle: {
    describe(): {
      probes: { name: string; critical: boolean }[];
      contract: string | null;
      queues: { name: string; concurrency: number; maxRetries: number }[];
      subscriptions: { event: string; delivery: HostDelivery }[];
      entities: { name: string; schema: string; query: string }[];
    };
    init(): void;
    afterPluginsReady(): void;
    shutdown(): void;
  };
  handler: { handle(request: HostRequest): { status: number; headers: Header[]; body: Uint8Array } };
  procedures: { run(call: HostCall): string | null };
  worker: { work(job: HostJob): void };
  listener: { handle(event: HostEvent): void };
  readiness: { check(probe: string): { ok: boolean; message: string | null } };
}

/** The interfaces that the plugin world exports. */
export function componentOf<Config>(plugin: Plugin<Config>): Component {
  const probes = plugin.probes ?? {};
  const queues = plugin.queues ?? {};
  const subscriptions = plugin.subscriptions ?? [];
  const kinds = plugin.entities ?? {};
  let config: Config;
  let initialised = false;

  return {
    lifecycle: {
      describe: () => ({
        probes: Object.keys(probes).map((name) => ({ name, critical: probes[name]!.critical })),
        contract: plugin.offer.contract(),
        queues: Object.keys(queues).map((name) => ({ name, concurrency: queues[name]!.concurrency ?? 1, maxRetries: queues[name]!.retries ?? 3 })),
        subscriptions: subscriptions.map((subscription) => ({ event: subscription.event, delivery: deliveryOf(subscription) })),
        entities: Object.keys(kinds).map((name) => ({ name, schema: JSON.stringify(kinds[name]!.schema), query: kinds[name]!.query })),
      }),
      init() {
        startOrThrow(() => {
          config = configFor(plugin);
          plugin.init?.(config);
        });
        initialised = true;
      },
      afterPluginsReady() {
        startOrThrow(() => plugin.afterPluginsReady?.(config));
      },
      shutdown() {
        plugin.shutdown?.(config);
      },
    },
    handler: {
      handle(request) {
        if (!initialised) return toHost(refusal(503, "unavailable", "the plugin is not initialised"));
        try {
          const response = plugin.router.answer(request, config);
          if (!(response instanceof Response)) throw new TypeError(`the handler of ${request.path} returned no response; it must be synchronous`);
          return toHost(response);
        } catch (thrown) {
          return toHost(responseFor(thrown));
        }
      },
    },
    procedures: {
      run(call) {
        try {
          if (!initialised) throw new HttpError(503, "the plugin is not initialised");
          return plugin.offer.run(call, config);
        } catch (thrown) {
          // A record of the world.
          throw { ...refusalFor(thrown), data: null };
        }
      },
    },
    worker: {
      work({ queue, id, data, attempts, enqueuedAt }) {
        workOrThrow(`what does the jobs of ${queue}`, () => {
          const known = queues[queue];
          if (known === undefined) throw new PermanentFailure(`the plugin has no queue '${queue}'`);
          if (!initialised) throw new Error("the plugin is not initialised");
          return known.work(JSON.parse(data), config, { id, attempts, enqueuedAt: new Date(enqueuedAt / 1_000) });
        });
      },
    },
    listener: {
      handle({ name, workerGroup, payload, actor, attempts }) {
        workOrThrow(`what listens to ${name}`, () => {
          const groupOf = (subscription: (typeof subscriptions)[number]) => (subscription.mode === "work-queue" ? subscription.workerGroup : null);
          const known = subscriptions.find((subscription) => subscription.event === name && groupOf(subscription) === workerGroup);
          if (known === undefined) throw new PermanentFailure(`the plugin has not subscribed to '${name}'`);
          if (!initialised) throw new Error("the plugin is not initialised");
          return known.handle(JSON.parse(payload), config, { name, actor, attempts });
        });
      },
    },
    readiness: {
      check(name) {
        const probe = probes[name];
        if (!initialised || probe === undefined) return { ok: false, message: `the plugin has no probe '${name}' now` };
        try {
          probe.check(config);
          return { ok: true, message: null };
        } catch (thrown) {
          return { ok: false, message: messageOf(thrown) };
        }
      },
    },
  };
}

/** The configuration, brought up to date and checked. */
function configFor<Config>(plugin: Plugin<Config>): Config {
  const read = (given: unknown) => (plugin.config === undefined ? (given as Config) : plugin.config(given as Record<string, unknown>));
  const format = new Versioned({ read, migrations: plugin.configMigrations ?? [] });
  try {
    return format.parse(hostConfig.version(), JSON.parse(hostConfig.get()));
  } catch (thrown) {
    if (thrown instanceof VersionError) throw new InvalidConfig(`spec.configVersion: ${thrown.message}`);
    throw thrown;
  }
}

/** Runs a part of the start; what it throws is a variant of the world afterwards. */
function startOrThrow(start: () => void): void {
  try {
    start();
  } catch (thrown) {
    if (!(thrown instanceof InvalidConfig || thrown instanceof HostError)) log.error("the plugin threw while starting", stackOf(thrown));
    throw { tag: thrown instanceof InvalidConfig ? "invalid-config" : "failed", val: messageOf(thrown) };
  }
}

/** Does a job, or something like it; what it throws is a variant of the world afterwards. */
function workOrThrow(who: string, work: () => unknown): void {
  try {
    if (work() instanceof Promise) throw new PermanentFailure(`${who} returned a promise; it must be synchronous`);
  } catch (thrown) {
    if (!(thrown instanceof PermanentFailure || thrown instanceof HostError)) log.error(messageOf(thrown), stackOf(thrown));
    throw { tag: thrown instanceof PermanentFailure ? "permanent" : "retry", val: messageOf(thrown) };
  }
}

/** The answer to a request whose handler threw. Only the text of a `HttpError` is for who asked. */
function responseFor(thrown: unknown): Response {
  if (thrown instanceof HttpError && thrown.status < 500) return refusal(thrown.status, wordFor(thrown.status), thrown.message);
  log.error(messageOf(thrown), stackOf(thrown));
  if (thrown instanceof HttpError) return refusal(thrown.status, wordFor(thrown.status), thrown.message);
  if (thrown instanceof HostError && thrown.reason === "unavailable") {
    return refusal(503, "unavailable", "something that the plugin needs does not answer", { name: "retry-after", value: "5" });
  }
  return refusal(500, "internal", "the plugin could not do this");
}

/** What the caller of a procedure that threw is told. Only the text of a `HttpError` is for them. */
function refusalFor(thrown: unknown): { code: string; message: string | null } {
  if (!(thrown instanceof HttpError && thrown.status < 500)) log.error(messageOf(thrown), stackOf(thrown));
  if (thrown instanceof HttpError) return { code: codeFor(thrown.status), message: thrown.message };
  if (thrown instanceof HostError && thrown.reason === "unavailable") {
    return { code: codeFor(503), message: "something that the plugin needs does not answer" };
  }
  return { code: codeFor(500), message: null };
}

function stackOf(thrown: unknown): log.Fields {
  return thrown instanceof Error && thrown.stack !== undefined ? { stack: thrown.stack.trim() } : {};
}

const WORDS: Record<number, string> = {
  400: "bad_request",
  401: "unauthorized",
  403: "forbidden",
  404: "not_found",
  409: "conflict",
  413: "too_large",
  429: "too_many_requests",
  502: "bad_gateway",
  503: "unavailable",
  504: "timeout",
};

function wordFor(status: number): string {
  return WORDS[status] ?? (status < 500 ? "refused" : "internal");
}
