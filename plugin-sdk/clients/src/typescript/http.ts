/** How to reach an instance, and as whom. */
export interface ClientOptions {
  /** `https://checkstack.example.com` */
  baseUrl: string;
  /** The key of an application, `ck_…`, or what gives one. Without it one is who the browser's cookie says, or nobody. */
  token?: string | (() => string | Promise<string>);
  /** Header fields of all calls. */
  headers?: Record<string, string>;
  /** What is called instead of the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  /** `include`: the cookie of an instance at another origin is sent, too. */
  credentials?: "omit" | "same-origin" | "include";
}

/** What belongs to one call. */
export interface CallOptions {
  /** Ends the call. */
  signal?: AbortSignal;
  /** Ties together the log lines of the instance about it; without one, the instance makes one. */
  correlationId?: string;
}

/** What is wrong with an input. */
export interface Issue {
  code: string;
  path: (string | number)[];
  message: string;
}

/** The instance has been asked, and says no. */
export class CallError extends Error {
  override readonly name = "CallError";
  readonly code: ErrorCode;
  /** Of HTTP. */
  readonly status: number;
  /** For a program. */
  readonly data: unknown;
  /** For whoever looks into the log. */
  readonly correlationId: string | undefined;
  /** When to try again, if that is worth it. */
  readonly retryAfterSeconds: number | undefined;

  constructor(error: { code: ErrorCode; message: string; data?: unknown }, response: Response) {
    super(error.message);
    this.code = error.code;
    this.status = response.status;
    this.data = error.data;
    this.correlationId = response.headers.get(CORRELATION_ID) ?? undefined;
    const seconds = Number(response.headers.get("retry-after") ?? NaN);
    this.retryAfterSeconds = Number.isFinite(seconds) ? seconds : undefined;
  }

  /** What is wrong with the input, for `BAD_REQUEST`. */
  get issues(): Issue[] {
    const { issues } = (this.data ?? {}) as { issues?: Issue[] };
    return Array.isArray(issues) ? issues : [];
  }
}

/** The answer is not that of an instance: of a proxy in between, or of another version. */
export class UnexpectedAnswer extends Error {
  override readonly name = "UnexpectedAnswer";
  readonly status: number;
  readonly correlationId: string | undefined;

  constructor(problem: string, response: Response, options?: ErrorOptions) {
    super(`the answer, of status ${response.status}, is not as expected: ${problem}`, options);
    this.status = response.status;
    this.correlationId = response.headers.get(CORRELATION_ID) ?? undefined;
  }
}

const CORRELATION_ID = "x-correlation-id";
/** Of a query's URL. What is longer is sent as a body, since servers in between refuse long ones. */
const MAX_URL = 2_000;

class Caller {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  async query(procedure: string, input: unknown, call: CallOptions = {}): Promise<any> {
    const { json, meta } = encode(input);
    const data = json === undefined ? "" : `?data=${encodeURIComponent(JSON.stringify({ json, meta }))}`;
    const url = this.#url(procedure) + data;
    return url.length <= MAX_URL ? this.#send(url, { method: "GET" }, call) : this.mutation(procedure, input, call);
  }

  async mutation(procedure: string, input: unknown, call: CallOptions = {}): Promise<any> {
    const body = JSON.stringify(encode(input));
    return this.#send(this.#url(procedure), { method: "POST", body, headers: { "content-type": "application/json" } }, call);
  }

  #url(procedure: string): string {
    return `${this.#options.baseUrl.replace(/\/+$/, "")}/api/${procedure}`;
  }

  async #send(url: string, init: RequestInit & { headers?: Record<string, string> }, call: CallOptions): Promise<unknown> {
    const { token, fetch = globalThis.fetch, credentials } = this.#options;
    const headers: Record<string, string> = { ...this.#options.headers, ...init.headers };
    const bearer = typeof token === "function" ? await token() : token;
    if (bearer !== undefined) headers["authorization"] = `Bearer ${bearer}`;
    if (call.correlationId !== undefined) headers[CORRELATION_ID] = call.correlationId;
    const more = { ...(credentials === undefined ? {} : { credentials }), ...(call.signal === undefined ? {} : { signal: call.signal }) };
    const response = await fetch(url, { ...init, headers, ...more });
    const answer = await readAnswer(response);
    if (!response.ok) throw new CallError(asError(answer, response), response);
    return answer;
  }
}

async function readAnswer(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return decode(JSON.parse(text), (url) => new URL(url));
  } catch (cause) {
    throw new UnexpectedAnswer(cause instanceof Error ? cause.message : String(cause), response, { cause });
  }
}

function asError(answer: unknown, response: Response): { code: ErrorCode; message: string; data?: unknown } {
  const error = (answer ?? {}) as { code?: unknown; message?: unknown; data?: unknown };
  if (typeof error.code !== "string" || typeof error.message !== "string") throw new UnexpectedAnswer("it says no, and not why", response);
  return { code: error.code as ErrorCode, message: error.message, data: error.data };
}
