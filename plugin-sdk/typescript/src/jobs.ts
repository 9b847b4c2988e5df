// Work that is done later, again and again, or although a replica dies; grant `database`.

import * as host from "checkstack:plugin/jobs@0.2.0";
import { callHost } from "./errors.ts";

/** A queue, and what does its jobs. */
export interface QueueDefinition<Config, Data = unknown> {
  /** How many of its jobs a replica does at once, 1 to 100; without it, 1. */
  concurrency?: number;
  /** How often a job is tried again that has failed, after 2, 4, 8, … seconds: 0 to 20; without it, 3. */
  retries?: number;
  /** Does a job. Throws {@link PermanentFailure} when no other attempt will work; after anything else that it throws it is tried again. */
  work(data: Data, config: Config, job: Job): void;
}

/** A job, beside its data. */
export interface Job {
  /** The same for each attempt. */
  readonly id: string;
  /** How many attempts have failed before. */
  readonly attempts: number;
  readonly enqueuedAt: Date;
}

/** A job as the host hands it over. */
export interface HostJob {
  queue: string;
  id: string;
  data: string;
  attempts: number;
  /** Microseconds since 1970. */
  enqueuedAt: number;
}

/** Thrown by what does jobs: no other attempt will work. */
export class PermanentFailure extends Error {
  override readonly name = "PermanentFailure";
}

export interface EnqueueOptions {
  /** Higher is earlier; among equals, the first that was enqueued. */
  priority?: number;
  /** Nobody does it before; a year at most. */
  delayMilliseconds?: number;
  /** While a job of this id waits, no other is added. */
  id?: string;
}

/**
 * When a schedule adds its jobs: at once and then after so many milliseconds each, 100 at least; or when the clock of a time zone, UTC
 * unless said otherwise, shows what a cron pattern of five fields says, or of six with seconds before them.
 */
export type Recurrence = { everyMilliseconds: number } | { cron: string; timeZone?: string };

/** Adds a job; its id. The data has to be JSON. */
export function enqueue(queue: string, data: unknown, { priority = 0, delayMilliseconds = 0, id }: EnqueueOptions = {}): string {
  return callHost(() => host.enqueue(queue, JSON.stringify(data ?? null), { priority, delay: delayMilliseconds, id: id ?? null }));
}

/**
 * Adds a job each time, once for all replicas. A schedule of that id is replaced; one that is the same goes on as it is, so that every
 * start may set it. A time that comes while the job before still waits or is being done is left out.
 */
export function schedule(queue: string, id: string, data: unknown, recurrence: Recurrence): void {
  const when =
    "cron" in recurrence
      ? ({ tag: "cron", val: { pattern: recurrence.cron, timeZone: recurrence.timeZone ?? "UTC" } } as const)
      : ({ tag: "interval", val: recurrence.everyMilliseconds } as const);
  callHost(() => host.schedule(queue, id, JSON.stringify(data ?? null), when));
}

/** Ends a schedule; true when there was one. */
export function cancel(queue: string, id: string): boolean {
  return callHost(() => host.cancel(queue, id));
}

/** Ids of the schedules of a queue. */
export function scheduled(queue: string): string[] {
  return callHost(() => host.scheduled(queue));
}
