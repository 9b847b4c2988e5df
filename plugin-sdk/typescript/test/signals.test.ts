import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, empty, signals } from "@checkstack/plugin-sdk";
import { start } from "@checkstack/plugin-sdk/testing";

const page = definePlugin({
  routes: (router) =>
    router.post("/changed", () => {
      signals.broadcast("changed", { target: "a" });
      signals.sendToUsers("seen", undefined, ["ada"]);
      signals.sendToAuthorizedUsers("failed", 3, ["ada", "bob"], "target.read");
      return empty();
    }),
});

test("signals say for whom they are", () => {
  const plugin = start(page);
  plugin.request("POST", "/changed");
  assert.deepEqual(plugin.signals, [
    { name: "changed", payload: { target: "a" }, users: null, rule: null },
    { name: "seen", payload: null, users: ["ada"], rule: null },
    { name: "failed", payload: 3, users: ["ada", "bob"], rule: "target.read" },
  ]);
});
