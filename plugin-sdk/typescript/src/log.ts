// Structured log lines; they come out of the server's log with the plugin's id.

import * as host from "checkstack:plugin/log@0.2.0";

/** Values that a line carries beside its message. */
export type Fields = Record<string, string | number | boolean | bigint | null | undefined>;

export const trace = (message: string, fields?: Fields): void => write("trace", message, fields);
export const debug = (message: string, fields?: Fields): void => write("debug", message, fields);
export const info = (message: string, fields?: Fields): void => write("info", message, fields);
export const warn = (message: string, fields?: Fields): void => write("warn", message, fields);
export const error = (message: string, fields?: Fields): void => write("error", message, fields);

type Level = Parameters<typeof host.write>[0];

function write(level: Level, message: string, fields?: Fields): void {
  const list: { name: string; value: string }[] = [];
  for (const name in fields) {
    const value = fields[name];
    if (value !== undefined) list.push({ name, value: String(value) });
  }
  host.write(level, message, list);
}

/** What `console` of the plugin is. */
export const console = {
  log: (...values: unknown[]): void => info(line(values)),
  info: (...values: unknown[]): void => info(line(values)),
  debug: (...values: unknown[]): void => debug(line(values)),
  trace: (...values: unknown[]): void => trace(line(values)),
  warn: (...values: unknown[]): void => warn(line(values)),
  error: (...values: unknown[]): void => error(line(values)),
};

function line(values: unknown[]): string {
  return values.map(show).join(" ");
}

function show(value: unknown): string {
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
  if (typeof value !== "object" || value === null) return String(value);
  try {
    return JSON.stringify(value);
  } catch {
    return String(value);
  }
}
