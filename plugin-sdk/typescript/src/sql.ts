// The plugin's own PostgreSQL schema. Its tables come from the migrations in the package. Needs the
// grant `database`.
//
//     const recent = sql<{ page: string; visits: number }>`
//       SELECT page, count(*) AS visits FROM visits WHERE at > ${since} GROUP BY page`.all();

import * as host from "checkstack:plugin/sql@0.2.0";
import { callHost } from "./errors.ts";

/**
 * What can stand in `${…}`. Whole numbers become `bigint`, others `double precision`, objects and
 * arrays `jsonb`, a `Date` `timestamptz`. `sql.float` and its like say it when it must be something else.
 */
export type Parameter = null | undefined | boolean | number | bigint | string | Uint8Array | Date | TypedValue | object;

/** What a column is read as: numbers, texts (also of `uuid` and `numeric`), `Date`, JSON values. */
export type Column = null | boolean | number | string | Uint8Array | Date | object;

/** A parameter whose type was said. */
export class TypedValue {
  constructor(readonly value: host.Value) {}
}

/** One statement with its parameters. It does nothing until one of its methods is called. */
export class Statement<Row = Record<string, Column>> {
  constructor(
    readonly text: string,
    readonly parameters: host.Value[],
  ) {}

  /** Its rows: 10,000 and 8 MiB at most. */
  all(): Row[] {
    const { columns, rows } = callHost(() => host.query(this));
    return rows.map((values) => {
      const row: Record<string, Column> = {};
      for (let index = 0; index < columns.length; index += 1) row[columns[index]!] = fromHost(values[index]!);
      return row as Row;
    });
  }

  /** Its first row; null when there is none. */
  first(): Row | null {
    return this.all()[0] ?? null;
  }

  /** Runs it; the number of rows it touched. */
  run(): number {
    return callHost(() => host.execute(this));
  }
}

/** A statement; every `${…}` is a parameter, never text. */
function statement<Row = Record<string, Column>>(parts: TemplateStringsArray, ...values: Parameter[]): Statement<Row> {
  let text = parts[0]!;
  for (let index = 1; index < parts.length; index += 1) text += `$${index}${parts[index]}`;
  return new Statement<Row>(text, values.map(toHost));
}

/** Statements as templates, and what goes with them. */
export const sql = Object.assign(statement, {
  /** Runs all statements, in order, or none; the number of rows that each touched. */
  transaction: (statements: Statement<unknown>[]): number[] => callHost(() => host.transact(statements)),
  /** A parameter of type `double precision`, also when it is whole. */
  float: (value: number): TypedValue => new TypedValue({ tag: "float", val: value }),
  /** A parameter of type `jsonb`, also when it is a text, a number or null. */
  json: (value: unknown): TypedValue => new TypedValue({ tag: "json", val: JSON.stringify(value) }),
  /** A parameter of type `numeric`, without loss. */
  numeric: (value: string): TypedValue => new TypedValue({ tag: "numeric", val: value }),
  /** A parameter of type `uuid`, hyphenated. */
  uuid: (value: string): TypedValue => new TypedValue({ tag: "uuid", val: value }),
});

function toHost(value: Parameter): host.Value {
  switch (typeof value) {
    case "undefined":
      return { tag: "null" };
    case "boolean":
      return { tag: "boolean", val: value };
    case "string":
      return { tag: "text", val: value };
    case "number":
      return Number.isSafeInteger(value) ? { tag: "integer", val: value } : { tag: "float", val: value };
    case "bigint":
      // The engine hands over whole numbers up to 2^53 only.
      return { tag: "numeric", val: value.toString() };
  }
  if (value === null) return { tag: "null" };
  if (value instanceof TypedValue) return value.value;
  if (value instanceof Date) return { tag: "timestamp", val: value.getTime() * 1_000 };
  if (value instanceof Uint8Array) return { tag: "bytes", val: value };
  return { tag: "json", val: JSON.stringify(value) };
}

function fromHost(value: host.Value): Column {
  switch (value.tag) {
    case "null":
      return null;
    case "timestamp":
      return new Date(value.val / 1_000);
    case "json":
      return JSON.parse(value.val) as Column;
    default:
      return value.val;
  }
}
