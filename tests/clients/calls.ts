// Calls an instance with a client that `checkstack client` has made: calls.ts URL KEY.

import assert from "node:assert/strict";
import { CallError, Client, UnexpectedAnswer, type echo } from "./client.ts";

const [baseUrl, key] = process.argv.slice(2) as [string, string];
const nobody = new Client({ baseUrl });
const admin = new Client({ baseUrl: `${baseUrl}/`, token: async () => key });

const everything: echo.EchoInput = {
  at: new Date("2026-01-02T03:04:05.678Z"),
  until: null,
  count: 9_007_199_254_740_993n,
  ids: new Set(["a", "b"]),
  labels: new Map([["x", 1], ["y", 2]]),
  page: new URL("https://example.com/a?b=1"),
  pattern: /a+/i,
  state: "up",
  shape: { kind: "circle", radius: 1.5 },
  tree: { children: [{ children: [] }] },
};
const answered: echo.EchoOutput = await nobody.echo.echo(everything);
assert.deepEqual(answered, everything);
assert.deepEqual(await nobody.echo.echoChanged(everything), everything);
if (answered.shape.kind === "circle") assert.equal(answered.shape.radius.toFixed(1), "1.5");
// Longer than a URL may be.
const ids = new Set(Array.from({ length: 1_000 }, (_, number) => `id-${number}`));
assert.deepEqual((await nobody.echo.echo({ ...everything, ids })).ids, ids);

// @ts-expect-error: there is no such state
const wrong = await refusal(nobody.echo.echo({ ...everything, state: "sideways" }));
assert.deepEqual([wrong.code, wrong.issues[0]?.path], ["BAD_REQUEST", ["state"]]);

const refused = await refusal(nobody.echo.notFound({ correlationId: "client-test" }));
assert.deepEqual([refused.code, refused.status, refused.correlationId], ["NOT_FOUND", 404, "client-test"]);
assert.equal((await refusal(nobody.secrets.listSecrets())).code, "UNAUTHORIZED");

await admin.secrets.setSecret({ name: "of-client", value: "hunter2-and-more", description: "of a client" });
const [listed] = await admin.secrets.listSecrets();
assert.deepEqual([listed?.name, listed?.description, listed?.source], ["of-client", "of a client", "database"]);
assert.deepEqual(await admin.secrets.deleteSecret({ name: "of-client" }), { deleted: true });

await assert.rejects(new Client({ baseUrl: `${baseUrl}/no-instance` }).echo.notFound(), UnexpectedAnswer);
await assert.rejects(nobody.echo.echo(everything, { signal: AbortSignal.abort() }), { name: "AbortError" });

async function refusal(call: Promise<unknown>): Promise<CallError> {
  const error = await call.then(() => assert.fail("it was not refused"), (thrown: unknown) => thrown);
  assert.ok(error instanceof CallError, String(error));
  return error;
}
