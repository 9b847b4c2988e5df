import assert from "node:assert/strict";
import { test } from "node:test";
import { cache, definePlugin, events, PermanentFailure, text } from "@checkstack/plugin-sdk";
import { componentOf } from "../src/component.ts";
import { start } from "@checkstack/plugin-sdk/testing";

interface Changed {
  target: string;
}

const page = definePlugin({
  config: () => ({ title: "Status" }),
  routes: (router) =>
    router.get("/", (_, { title }) => {
      const known = cache.get<string>("page");
      if (known === null) cache.set("page", title, { ttlMilliseconds: 60_000 });
      return text(known ?? "made");
    }),
  subscriptions: [
    {
      event: "uptime.changed",
      mode: "work-queue",
      workerGroup: "page",
      retries: 5,
      handle({ target }: Changed, { title }, { actor, attempts }) {
        if (target === "") throw new PermanentFailure("no target");
        if (attempts === 0) throw new Error("busy");
        cache.removeByPrefix("pa");
        events.emit("rendered", { target, title, by: actor.id });
      },
    },
    { event: "uptime.changed", handle: () => void cache.remove("other") },
    { event: "core.plugin.deregistering", mode: "instance-local", handle: (async () => undefined) as never },
  ],
});

test("each subscription is described, and told by its group", () => {
  assert.deepEqual(componentOf(page).lifecycle.describe().subscriptions, [
    { event: "uptime.changed", delivery: { tag: "work-queue", val: { name: "page", maxRetries: 5 } } },
    { event: "uptime.changed", delivery: { tag: "broadcast" } },
    { event: "core.plugin.deregistering", delivery: { tag: "instance-local" } },
  ]);
  const plugin = start(page);
  plugin.cache.set("other", { text: "1", ttlMilliseconds: null });
  plugin.tell("uptime.changed", {});
  assert.deepEqual([...plugin.cache.keys()], []);
  assert.throws(() => plugin.tell("uptime.changed", { target: "a" }, { workerGroup: "page" }), /busy/);
  plugin.tell("uptime.changed", { target: "a" }, { workerGroup: "page", attempts: 1, actor: { kind: "user", id: "ada", name: "Ada" } });
  assert.deepEqual(plugin.events, [{ name: "rendered", payload: { target: "a", title: "Status", by: "ada" } }]);
});

test("an event that cannot be handled is told so", () => {
  const plugin = start(page);
  assert.throws(() => plugin.tell("uptime.changed", { target: "" }, { workerGroup: "page" }), PermanentFailure);
  assert.throws(() => plugin.tell("uptime.changed", {}, { workerGroup: "mail" }), PermanentFailure);
  assert.throws(() => plugin.tell("uptime.removed", {}), PermanentFailure);
  assert.throws(() => plugin.tell("core.plugin.deregistering", {}), /must be synchronous/);
});

test("what is cached is found until it is removed", () => {
  const plugin = start(page);
  assert.equal(plugin.request("GET", "/").text, "made");
  assert.equal(plugin.request("GET", "/").text, "Status");
  assert.deepEqual(plugin.cache.get("page"), { text: '"Status"', ttlMilliseconds: 60_000 });
  plugin.tell("uptime.changed", { target: "a" }, { workerGroup: "page", attempts: 1 });
  assert.equal(plugin.request("GET", "/").text, "made");
});
