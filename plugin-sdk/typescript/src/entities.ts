// Things whose changes others hear, on all replicas; grant `database`.
//
//     entities: { door: { schema: Type.Object({ open: Type.Boolean() }), query: "SELECT name AS id, open FROM doors WHERE name = ANY($1)" } }
//     entities.mutate("door", name, [sql`UPDATE doors SET open = true WHERE name = ${name}`]);
//
// Others know the kind as `<plugin id>.door`, and hear of it with a subscription to `automation.entity.changed/<plugin id>.door`.

import * as host from "checkstack:plugin/entities@0.2.0";
import { callHost } from "./errors.ts";
import type { Actor } from "./events.ts";
import type { Statement } from "./sql.ts";

/** A kind of entities. Its name has lower-case letters, digits and `-`. */
export interface EntityKind {
  /** JSON Schema (draft 2020-12) of a state; `@checkstack/plugin-sdk/schema` makes one. */
  schema: object;
  /**
   * Reads the states of those of the ids that there are: `$1` is a `text[]` of ids, the column `id` a text, and every other column a field.
   */
  query: string;
}

/** What became of a change. */
export interface Mutation {
  /** Rows that each statement touched. */
  readonly touched: number[];
  /** Null: the state is what it was, and nobody was told anything. */
  readonly change: { readonly sequence: number; readonly before: unknown; readonly after: unknown; readonly changedFields: string[] } | null;
}

/** Since when a field has the value that it has. */
export interface Since {
  /** By the clock of the database. */
  readonly at: Date;
  readonly agoMilliseconds: number;
}

/** The payload of `automation.entity.changed/<plugin id>.<kind>`. */
export interface EntityChanged<State = unknown> {
  /** `<plugin id>.<kind>`. */
  readonly kind: string;
  readonly id: string;
  /** Null: it was not there. */
  readonly prev: State | null;
  /** Null: it is not there any more. */
  readonly next: State | null;
  /** The fields that are different. */
  readonly delta: Record<string, { from: unknown; to: unknown }>;
  /** Their names. */
  readonly changedFields: string[];
  /** Who has caused it. */
  readonly actor: { type: Actor["kind"]; id: string; name: string };
  /** RFC 3339, by the clock of the database. */
  readonly occurredAt: string;
  /** The same each time it is heard. */
  readonly changeId: string;
  /** Counts the changes of the entity from 1, without a gap. A work queue may tell them out of their order: a lower number is old. */
  readonly sequence: number;
}

/**
 * Runs all statements in one transaction, in order, with nobody else changing the entity meanwhile, and tells others if its state is another one
 * afterwards. An entity that was not there is made, one that is not there afterwards removed.
 */
export function mutate(kind: string, id: string, statements: readonly Statement<any>[]): Mutation {
  return made(callHost(() => host.mutate(kind, id, [...statements])));
}

/** The same, of statements after which the entity has to be gone. */
export function remove(kind: string, id: string, statements: readonly Statement<any>[]): Mutation {
  return made(callHost(() => host.remove(kind, id, [...statements])));
}

/** Since when a field has the value that it has; null when there is no such entity, or nothing is known of the field. */
export function inStateSince(kind: string, id: string, field: string): Since | null {
  const since = callHost(() => host.inStateSince(kind, id, field));
  return since === null ? null : { at: new Date(since.at / 1_000), agoMilliseconds: since.ago };
}

/** How often a field has changed of late. That the entity comes or goes does not count. */
export function transitionCount(kind: string, id: string, field: string, withinMilliseconds: number): number {
  return callHost(() => host.transitionCount(kind, id, field, withinMilliseconds));
}

function made({ touched, change }: host.Mutation): Mutation {
  if (change === null) return { touched, change: null };
  const state = (text: string | null) => (text === null ? null : (JSON.parse(text) as unknown));
  const { sequence, before, after, changedFields } = change;
  return { touched, change: { sequence, before: state(before), after: state(after), changedFields } };
}
