import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, HttpError, peers, ProcedureError } from "@checkstack/plugin-sdk";
import * as Type from "@checkstack/plugin-sdk/schema";
import { start } from "@checkstack/plugin-sdk/testing";

const Item = Type.Object({ id: Type.String(), price: Type.Integer({ minimum: 0 }) });

const shop = definePlugin({
  config: () => ({ currency: "EUR" }),
  procedures: (procedures) =>
    procedures
      .rule({ resource: "item", level: "read", description: "See what there is", isPublic: true })
      .query("items/price", {
        summary: "What it costs",
        userType: "public",
        access: ["item.read"],
        input: Type.Object({ item: Item, count: Type.Optional(Type.Integer()) }),
        output: Type.Object({ total: Type.Integer(), currency: Type.String() }),
        run: ({ item, count = 1 }, { currency }) => ({ total: item.price * count, currency }),
      })
      .query("whoami", { output: Type.Unknown(), run: (_, __, { caller }) => caller })
      .mutation("items/forget", {
        input: Type.Object({ id: Type.String() }),
        run({ id }) {
          if (id === "none") throw new HttpError(404, "no such item");
          if (id === "broken") throw new Error("secret detail");
          return { never: "seen" };
        },
      })
      .query("stock", { output: Type.Unknown(), run: () => peers.callProcedure("stock", "count", { of: "apples" }) }),
});

test("the contract says all that the server needs", () => {
  const contract = JSON.parse(shop.offer.contract()!);
  assert.deepEqual(contract.accessRules, [{ resource: "item", level: "read", description: "See what there is", isPublic: true }]);
  assert.deepEqual(contract.procedures["items/price"], {
    operation: "query",
    summary: "What it costs",
    userType: "public",
    access: ["item.read"],
    input: {
      type: "object",
      required: ["item"],
      properties: {
        item: { type: "object", required: ["id", "price"], properties: { id: { type: "string" }, price: { type: "integer", minimum: 0 } } },
        count: { type: "integer" },
      },
    },
    output: { type: "object", required: ["total", "currency"], properties: { total: { type: "integer" }, currency: { type: "string" } } },
  });
  assert.equal(contract.procedures["items/forget"].operation, "mutation");
  assert.equal(definePlugin({ routes: (router) => router }).offer.contract(), null);
});

test("a call is that of a function", () => {
  const plugin = start(shop);
  assert.deepEqual(plugin.call("items/price", { item: { id: "a", price: 7 }, count: 6 }), { total: 42, currency: "EUR" });
  assert.equal(plugin.call("items/forget", { id: "a" }), undefined);
  assert.deepEqual(plugin.call("whoami"), { kind: "anonymous" });
  assert.deepEqual(plugin.call("whoami", undefined, { kind: "user", id: "1", name: "Ada" }), { kind: "user", id: "1", name: "Ada" });
  assert.deepEqual(plugin.call("whoami", undefined, { kind: "plugin", id: "other" }), { kind: "plugin", id: "other" });
});

test("who calls reads the text of a HttpError and nothing else", () => {
  const plugin = start(shop);
  const refusal = (id: string) => {
    try {
      return plugin.call("items/forget", { id });
    } catch (thrown) {
      return thrown instanceof ProcedureError && [thrown.code, thrown.message];
    }
  };
  assert.deepEqual(refusal("none"), ["NOT_FOUND", "no such item"]);
  assert.deepEqual(refusal("broken"), ["INTERNAL_SERVER_ERROR", "INTERNAL_SERVER_ERROR"]);
  assert.deepEqual(plugin.log.at(-1), { level: "error", message: "secret detail" });
  assert.throws(() => plugin.call("items/steal"), /there is no procedure/);
});

test("a procedure of another plugin gives its output or says no", () => {
  const asked: string[] = [];
  const answer = (status: number, body: object) =>
    start(shop, {
      peers: (id, method, path, sent) => {
        asked.push(`${method} ${id}${path} ${sent}`);
        return { status, body };
      },
    });
  assert.equal(answer(200, { json: 5 }).call("stock"), 5);
  assert.deepEqual(asked, ['POST stock/count {"json":{"of":"apples"}}']);
  const code = (status: number, body: object) => {
    try {
      return answer(status, body).call("stock");
    } catch (thrown) {
      return (thrown as ProcedureError).code;
    }
  };
  // What the other plugin refuses is nothing that this one's caller can mend.
  assert.equal(code(404, { json: { code: "NOT_FOUND", message: "no apples" } }), "INTERNAL_SERVER_ERROR");
  assert.equal(code(503, { json: { code: "SERVICE_UNAVAILABLE", message: "later" } }), "SERVICE_UNAVAILABLE");
  assert.equal(code(404, { error: "Not Found" }), "INTERNAL_SERVER_ERROR");
});

test("the same path twice is a mistake of the author", () => {
  const nothing = { run: () => undefined };
  assert.throws(() => definePlugin({ procedures: (offer) => offer.query("a", nothing as never).mutation("a", nothing as never) }), /there already/);
});
