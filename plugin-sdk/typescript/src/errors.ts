/** Thrown by a request handler: the answer is this status, with the message as JSON. */
export class HttpError extends Error {
  override readonly name = "HttpError";

  constructor(
    /** 400 to 599. */
    readonly status: number,
    /** For who asked. */
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Thrown while reading the configuration: it is wrong, and trying again without a change is of no use. */
export class InvalidConfig extends Error {
  override readonly name = "InvalidConfig";
}

/** Thrown by what the server does for a plugin. */
export class HostError extends Error {
  override readonly name = "HostError";

  constructor(
    /** Which of the reasons of that function, as in the WIT: `denied`, `unavailable`, `timeout`, … */
    readonly reason: string,
    message: string,
    /** What PostgreSQL says, for the reason `database`. */
    readonly database?: { code: string; constraint: string | null },
  ) {
    super(message);
  }
}

/** Thrown by `peers.callProcedure`: the other plugin has been called, and says no. */
export class ProcedureError extends Error {
  override readonly name = "ProcedureError";

  constructor(
    /** `NOT_FOUND`, `CONFLICT`, … */
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Calls the host; what it throws, an error with a variant as its payload, becomes a {@link HostError}. */
export function callHost<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw fromHost(thrown);
  }
}

function fromHost(thrown: unknown): unknown {
  if (!(thrown instanceof Error && "payload" in thrown)) return thrown;
  const { tag, val } = thrown.payload as { tag: string; val: unknown };
  if (typeof val === "string") return new HostError(tag, val);
  if (typeof val === "number") return new HostError(tag, `it is of version ${val}, which is newer than what this release of the plugin understands`);
  const { code, message, constraint } = val as { code: string; message: string; constraint: string | null };
  return new HostError(tag, `${message} (SQLSTATE ${code})`, { code, constraint });
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
