// Telling others that something has happened, and being told; grant `database`.

import * as host from "checkstack:plugin/events@0.2.0";
import { callHost } from "./errors.ts";

/**
 * An event of which a plugin is told, as `<plugin id>.<name>`: of the plugin itself, of one that it depends on, or of the server
 * (`core.plugin.initialized` and others).
 */
export type Subscription<Config, Payload = unknown> = Delivery & {
  event: string;
  /** Throws {@link PermanentFailure} when no other attempt will work. */
  handle(payload: Payload, config: Config, event: Event): void;
};

/**
 * Which instances are told: one in each replica that is there at the time (`broadcast`, unless said otherwise); one of all, at least once, and again
 * when it fails (`work-queue`, with the name of the group); or one in the replica that the event is about (`instance-local`).
 */
export type Delivery =
  | { mode?: "broadcast" | "instance-local" }
  | {
      mode: "work-queue";
      /** Unique within the plugin. */
      workerGroup: string;
      /** How often it is told again after a failure, after 2, 4, 8, … seconds: 0 to 20; without it, 3. */
      retries?: number;
    };

/** An event, beside its payload. */
export interface Event {
  /** As it was subscribed to. */
  readonly name: string;
  /** By whom it has been caused. */
  readonly actor: Actor;
  /** How many attempts have failed before. */
  readonly attempts: number;
}

/** By whom something has been done. */
export interface Actor {
  /** `user`, `application`, `service` (a plugin) or `system`. */
  readonly kind: string;
  readonly id: string;
  readonly name: string;
}

/** An event as the host hands it over. */
export interface HostEvent {
  name: string;
  workerGroup: string | null;
  payload: string;
  actor: Actor;
  attempts: number;
}

/** How the plugin world says it. */
export function deliveryOf(subscription: Delivery): HostDelivery {
  switch (subscription.mode) {
    case "work-queue":
      return { tag: "work-queue", val: { name: subscription.workerGroup, maxRetries: subscription.retries ?? 3 } };
    case "instance-local":
      return { tag: "instance-local" };
    default:
      return { tag: "broadcast" };
  }
}

export type HostDelivery = { tag: "broadcast" } | { tag: "instance-local" } | { tag: "work-queue"; val: { name: string; maxRetries: number } };

/** Tells all who have subscribed to `<id of this plugin>.<name>`, on all replicas. The payload has to be JSON. */
export function emit(name: string, payload: unknown): void {
  callHost(() => host.emit(name, JSON.stringify(payload ?? null)));
}
