import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, empty, entities, HostError, json, sql, type EntityChanged } from "@checkstack/plugin-sdk";
import * as Type from "@checkstack/plugin-sdk/schema";
import { start } from "@checkstack/plugin-sdk/testing";

const heard: EntityChanged<{ open: boolean }>[] = [];

const house = definePlugin({
  entities: { door: { schema: Type.Object({ open: Type.Boolean() }), query: "SELECT name AS id, open FROM doors WHERE name = ANY($1)" } },
  subscriptions: [
    {
      event: "automation.entity.changed/house.door",
      handle(change: EntityChanged<{ open: boolean }>) {
        heard.push(change);
      },
    },
  ],
  routes: (router) =>
    router
      .post("/open/{name}", ({ params: { name } }) => json(entities.mutate("door", name, [sql`UPDATE doors SET open = true WHERE name = ${name}`])))
      .delete("/{name}", ({ params: { name } }) => {
        entities.remove("door", name, [sql`DELETE FROM doors WHERE name = ${name}`]);
        return empty();
      })
      .get("/since/{name}", ({ params: { name } }) => json([entities.inStateSince("door", name, "open"), entities.transitionCount("door", name, "open", 60_000)]))
      .post("/unknown", () => {
        entities.mutate("window", "x", []);
        return empty();
      }),
});

test("entities are changed with their statements", () => {
  const asked: unknown[] = [];
  const plugin = start(house, { sql: (text, parameters) => (asked.push([text, parameters]), 1) });
  assert.deepEqual(plugin.request("POST", "/open/front").json(), { touched: [1], change: null });
  assert.equal(plugin.request("DELETE", "/front").status, 204);
  assert.deepEqual(plugin.changes, [
    { kind: "door", id: "front", removes: false, statements: ["UPDATE doors SET open = true WHERE name = $1"] },
    { kind: "door", id: "front", removes: true, statements: ["DELETE FROM doors WHERE name = $1"] },
  ]);
  assert.deepEqual(asked[0], ["UPDATE doors SET open = true WHERE name = $1", ["front"]]);
  assert.deepEqual(plugin.request("GET", "/since/front").json(), [null, 0]);
  assert.equal(plugin.request("POST", "/unknown").status, 500);
  assert.throws(() => entities.mutate("window", "x", []), (thrown) => thrown instanceof HostError && thrown.reason === "invalid");
});

test("what is different is read as the server tells it", () => {
  const change = { sequence: 3, id: "c", before: null, after: '{"open":true}', changedFields: ["open"], occurredAt: 1 };
  start(house);
  const hosts = (globalThis as any).checkstackTestHost.entities;
  hosts.mutate = () => ({ touched: [], change });
  hosts.inStateSince = () => ({ at: 1_000_000, ago: 5 });
  assert.deepEqual(entities.mutate("door", "front", []).change, { sequence: 3, before: null, after: { open: true }, changedFields: ["open"] });
  assert.deepEqual(entities.inStateSince("door", "front", "open"), { at: new Date(1_000), agoMilliseconds: 5 });
});

test("a plugin hears of changes", () => {
  const plugin = start(house);
  const told = { kind: "house.door", id: "front", prev: null, next: { open: true } };
  plugin.tell("automation.entity.changed/house.door", told);
  assert.equal(heard.at(-1)?.next?.open, true);
});
