import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, HostError, jobs, PermanentFailure } from "@checkstack/plugin-sdk";
import { start } from "@checkstack/plugin-sdk/testing";

const sent: string[] = [];

const mailer = definePlugin({
  config: () => ({ from: "ops@example.org" }),
  queues: {
    mail: {
      retries: 5,
      work(data: { to: string }, { from }, job) {
        if (data.to === "") throw new PermanentFailure("nobody to write to");
        if (job.attempts === 0) throw new Error("busy");
        sent.push(`${from} ${data.to}`);
      },
    },
    late: { concurrency: 4, work: (async () => undefined) as never },
  },
  afterPluginsReady() {
    jobs.schedule("mail", "digest", { to: "all" }, { cron: "0 7 * * MON-FRI", timeZone: "Europe/Berlin" });
    jobs.schedule("mail", "ping", null, { everyMilliseconds: 60_000 });
  },
});

test("a job is done, tried again, or given up", () => {
  const plugin = start(mailer);
  assert.throws(() => plugin.work("mail", { to: "ada" }), /busy/);
  plugin.work("mail", { to: "ada" }, 1);
  assert.deepEqual(sent, ["ops@example.org ada"]);
  assert.throws(() => plugin.work("mail", { to: "" }), PermanentFailure);
  assert.throws(() => plugin.work("post", {}), PermanentFailure);
  assert.throws(() => plugin.work("late", {}), /must be synchronous/);
  assert.deepEqual(plugin.log.map(({ message }) => message), ["busy"]);
});

test("schedules are set by those who start", () => {
  const plugin = start(mailer);
  assert.deepEqual(plugin.schedules.get("mail/digest"), {
    data: { to: "all" },
    recurrence: { tag: "cron", val: { pattern: "0 7 * * MON-FRI", timeZone: "Europe/Berlin" } },
  });
  assert.deepEqual(jobs.scheduled("mail"), ["digest", "ping"]);
  assert.equal(jobs.cancel("mail", "ping"), true);
  assert.equal(jobs.cancel("mail", "ping"), false);
});

test("jobs are enqueued once while one of the id waits", () => {
  const plugin = start(mailer);
  assert.equal(jobs.enqueue("mail", { to: "a" }), "job-1");
  assert.equal(jobs.enqueue("mail", { to: "b" }, { id: "b", priority: 2, delayMilliseconds: 500 }), "b");
  jobs.enqueue("mail", { to: "c" }, { id: "b" });
  assert.deepEqual(plugin.jobs[1], { queue: "mail", id: "b", data: { to: "b" }, priority: 2, delayMilliseconds: 500 });
  assert.equal(plugin.jobs.length, 2);
  assert.throws(() => jobs.enqueue("post", {}), (thrown) => thrown instanceof HostError && thrown.reason === "invalid");
});
