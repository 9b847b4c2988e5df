// What a call and its answer are wrapped in: JSON, and notes of the types that JSON lacks. A part of the clients that
// `checkstack client` makes, too, and so without anything of the SDK.

/** A type's number, and the way to the value. */
type Note = [type: number, ...path: (string | number)[]];

interface Envelope {
  json?: unknown;
  meta?: Note[];
}

/** Wraps a value. */
export function encode(value: unknown): Envelope {
  const meta: Note[] = [];
  const json = plain(value, [], meta);
  return { ...(json === undefined ? {} : { json }), ...(meta.length === 0 ? {} : { meta }) };
}

/** Of a value and of all in it, JSON. What is inside of something is noted before it, as it has to be put together. */
function plain(value: any, path: (string | number)[], meta: Note[]): unknown {
  const noted = (type: number, json: unknown) => {
    meta.push([type, ...path]);
    return json;
  };
  if (typeof value === "bigint") return noted(0, value.toString());
  if (typeof value === "number") return Number.isNaN(value) ? noted(2, null) : value;
  if (typeof value !== "object" || value === null) return value;
  const items = (list: Iterable<unknown>) =>
    // A list cannot have a place where nothing is.
    Array.from(list, (item, index) => (item === undefined ? (meta.push([3, ...path, index]), null) : plain(item, [...path, index], meta)));
  switch (Object.prototype.toString.call(value)) {
    case "[object Date]":
      return noted(1, value.toISOString());
    case "[object URL]":
      return noted(4, value.toString());
    case "[object RegExp]":
      return noted(5, value.toString());
    case "[object Set]":
    case "[object Map]": {
      const json = items(value);
      return noted(value instanceof Map ? 7 : 6, json);
    }
  }
  if (Array.isArray(value)) return items(value);
  if (typeof value.toJSON === "function") return plain(value.toJSON(), path, meta);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(fields.map(([name, field]) => [name, plain(field, [...path, name], meta)]));
}

/** The value in an envelope. Throws when its notes do not fit. */
export function decode(envelope: Envelope, toUrl: (text: string) => unknown): unknown {
  const { json, meta = [] } = envelope;
  const root: Record<string, unknown> = { json };
  for (const [type, ...path] of meta) {
    let holder: any = root;
    let key: string | number = "json";
    for (const segment of path) {
      holder = holder[key];
      key = segment;
      // Its own, and not what all objects have: nothing else of the program may be changed by an answer.
      if (typeof holder !== "object" || holder === null || !Object.hasOwn(holder, key)) throw new TypeError("meta names a value that is not there");
    }
    if (type === 3 && !Array.isArray(holder)) delete holder[key];
    else holder[key] = native(type, holder[key], toUrl);
  }
  return root["json"];
}

function native(type: number, json: any, toUrl: (text: string) => unknown): unknown {
  switch (type) {
    case 0:
      return BigInt(json);
    case 1:
      return new Date(json);
    case 2:
      return NaN;
    case 3:
      return undefined;
    case 4:
      return toUrl(json);
    case 5: {
      const [, pattern, flags] = /^\/(.*)\/([a-z]*)$/s.exec(json) ?? [];
      if (pattern === undefined) throw new TypeError("meta says that something is a regular expression that is none");
      return new RegExp(pattern, flags);
    }
    case 6:
      return new Set(json);
    case 7:
      return new Map(json);
    default:
      throw new TypeError(`meta has the type ${type}, which is not known`);
  }
}
