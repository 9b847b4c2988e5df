import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { start, type TestReply } from "@checkstack/plugin-sdk/testing";
import { equalInConstantTime } from "../src/access.ts";
import statusPage from "../src/index.ts";
import { CONTENT_SECURITY_POLICY, renderPercent, renderSpan } from "../src/page.ts";
import { readSettings } from "../src/settings.ts";
import { STYLE } from "../src/style.ts";

const TOKEN = "correct horse battery";
const ADMIN = { authorization: `Bearer ${TOKEN}` };

const CHANGED = "automation.entity.changed/uptime.target";

/** What the server tells of a target. */
const changed = (id: string, prev: object | null, next: object | null, occurredAt: string) => ({
  kind: "uptime.target", id, prev, next, delta: {}, changedFields: [], actor: { type: "service", id: "uptime", name: "uptime" },
  occurredAt, changeId: "c", sequence: 1,
});

const target = (name: string, state: string, more = {}) => ({
  name, url: "http://internal", state, checkedAt: null, latencyMs: null, problem: null, checks: 0, availability: null, ...more,
});

function running(targets: object[] | null, config: Record<string, unknown> = {}) {
  const asked: string[] = [];
  const peers = (id: string, method: string, path: string): TestReply | null => {
    asked.push(`${method} ${id}${path}`);
    return targets === null ? null : { body: { json: { windowSeconds: 86_400, targets } } };
  };
  return { asked, ...start(statusPage, { config: { title: "Acme", adminToken: TOKEN, ...config }, peers }) };
}

test("the page shows each target with its state", () => {
  const up = target("shop", "up", { checkedAt: new Date(Date.now() - 30_000).toISOString(), latencyMs: 21, checks: 1000, availability: 0.9996 });
  const page = running([up, target("mail", "down", { problem: "answered 503" }), target("new", "unknown")]).request("GET", "/");
  assert.equal(page.status, 200);
  assert.equal(page.headers["content-type"], "text/html; charset=utf-8");
  assert.match(page.text, /class="overall degraded" role="status">.*mail is down</);
  assert.match(page.text, /<li class="up">.*shop.*99\.96 % up in the last 24 h &#183; 21 ms &#183; checked 3\d s ago/);
  assert.match(page.text, /<li class="down">.*mail.*answered 503/);
  assert.match(page.text, /<li class="unknown">.*Not checked yet/);
});

test("the overall state is that of its targets", () => {
  const state = (...states: string[]) => running(states.map((each, index) => target(`t${index}`, each))).request("GET", "/summary.json").json();
  assert.equal(state("up", "up").state, "operational");
  assert.equal(state("up", "unknown").state, "operational");
  assert.equal(state("up", "down", "down").message, "2 of 3 systems are down");
  assert.equal(state("down", "down").state, "outage");
  assert.equal(state("unknown").state, "unknown");
  assert.equal(state().message, "Nothing has been checked yet");
});

test("the summary does not tell where the targets are", () => {
  const { text } = running([target("shop", "up")]).request("GET", "/summary.json");
  assert.ok(!text.includes("internal"), text);
});

test("the page shows what has happened, the newest first, also when it is told twice", () => {
  const plugin = running([target("shop", "up")]);
  assert.ok(!plugin.request("GET", "/").text.includes("What has happened"));
  const tell = (name: string, up: boolean, occurredAt: string, prev: object | null = { up: !up, problem: null }) =>
    plugin.tell(CHANGED, changed(name, prev, { up, problem: up ? null : "answered <503>" }, occurredAt), { workerGroup: "changes" });
  tell("shop", false, "2026-03-01T10:00:00.000Z");
  assert.match(plugin.request("GET", "/").text, /Went down.*2026-03-01 10:00 UTC.*answered &lt;503&gt;/);
  tell("shop", true, "2026-03-01T10:05:00.000Z");
  tell("shop", true, "2026-03-01T10:05:00.000Z");
  // Another problem, the first check, and one that is gone
  tell("shop", false, "2026-03-01T10:06:00.000Z", { up: false, problem: "answered 500" });
  tell("new", true, "2026-03-01T10:06:00.000Z", null);
  plugin.tell(CHANGED, changed("shop", { up: true, problem: null }, null, "2026-03-01T10:06:00.000Z"), { workerGroup: "changes" });
  const { changes } = plugin.request("GET", "/summary.json").json();
  assert.deepEqual(changes.map(({ at, up }: { at: string; up: boolean }) => [at.slice(11, 16), up]), [["10:05", true], ["10:00", false]]);
  for (let minute = 10; minute < 30; minute += 1) tell("mail", minute % 2 === 0, `2026-03-01T10:${minute}:00.000Z`);
  assert.equal(plugin.request("GET", "/summary.json").json().changes.length, 10);
});

test("what is shown of changes is cached until there is another", () => {
  const plugin = running([]);
  plugin.request("GET", "/");
  assert.deepEqual(plugin.cache.get("changes"), { text: "[]", ttlMilliseconds: 10_000 });
  const down = { up: false, problem: null };
  plugin.tell(CHANGED, changed("shop", down, { up: true, problem: null }, "2026-03-01T10:00:00Z"), { workerGroup: "changes" });
  assert.equal(plugin.cache.size, 0);
});

test("without uptime the page says so, and shows its announcements", () => {
  const plugin = running(null);
  plugin.request("POST", "/announcements", { headers: ADMIN, body: { title: "We know" } });
  const page = plugin.request("GET", "/");
  assert.equal(page.status, 200);
  assert.match(page.text, /Checks are not available at the moment/);
  assert.match(page.text, /We know/);
  assert.equal(plugin.request("GET", "/summary.json").json().windowSeconds, null);
  assert.equal(plugin.request("POST", "/refresh").status, 303);
});

test("the button has the targets checked and leads back to the page", () => {
  const plugin = running([]);
  const response = plugin.request("POST", "/refresh");
  assert.deepEqual([response.status, response.headers["location"]], [303, "/api/status-page/"]);
  assert.deepEqual(plugin.asked, ["POST uptime/checks/run"]);
});

test("nothing that comes from elsewhere is markup", () => {
  const evil = `<script>alert("1")</script>'`;
  const plugin = running([target(evil, "down", { problem: evil })], { title: evil, description: evil });
  plugin.request("POST", "/announcements", { headers: ADMIN, body: { title: evil, text: evil } });
  const page = plugin.request("GET", "/").text;
  assert.ok(!page.includes("<script"), page);
  assert.equal(page.match(/&lt;script&gt;alert\(&quot;1&quot;\)&lt;\/script&gt;&#39;/g)?.length, 9);
});

test("the policy of the page allows its own style", () => {
  const hash = createHash("sha256").update(STYLE).digest("base64");
  assert.ok(CONTENT_SECURITY_POLICY.includes(`'sha256-${hash}'`), `the hash of the style is now sha256-${hash}`);
  assert.equal(running([]).request("GET", "/").headers["content-security-policy"], CONTENT_SECURITY_POLICY);
});

test("announcements are published, shown newest first, and withdrawn", () => {
  const plugin = running([]);
  const first = plugin.request("POST", "/announcements", { headers: ADMIN, body: { title: "First", level: "maintenance" } });
  assert.equal(first.status, 201);
  const { id } = first.json();
  assert.equal(first.headers["location"], `/api/status-page/announcements/${id}`);
  const second = plugin.request("POST", "/announcements", { headers: ADMIN, body: { title: "Second", ttlSeconds: 60 } }).json();
  assert.equal(Date.parse(second.endsAt) - Date.parse(second.publishedAt), 60_000);
  assert.equal(plugin.kv.get(`announcement:${second.id}`)?.ttlSeconds, 60);
  assert.equal(plugin.kv.get(`announcement:${id}`)?.ttlSeconds, null);
  const titles = () => plugin.request("GET", "/summary.json").json().announcements.map(({ title }: { title: string }) => title);
  assert.deepEqual(titles(), ["Second", "First"]);
  assert.equal(plugin.request("DELETE", `/announcements/${id}`, { headers: ADMIN }).status, 204);
  assert.equal(plugin.request("DELETE", `/announcements/${id}`, { headers: ADMIN }).status, 404);
  assert.equal(plugin.request("GET", `/announcements/${id}`).status, 404);
  assert.deepEqual(titles(), ["Second"]);
});

test("only the token opens what changes something", () => {
  const plugin = running([]);
  const publish = (headers: Record<string, string>) => plugin.request("POST", "/announcements", { headers, body: { title: "x" } }).status;
  assert.equal(publish({}), 401);
  assert.equal(publish({ authorization: "Bearer wrong" }), 403);
  assert.equal(publish({ authorization: `Bearer ${TOKEN}x` }), 403);
  assert.equal(plugin.request("DELETE", "/announcements/00000000000").status, 401);
  assert.equal(plugin.kv.size, 0);
  const closed = running([], { adminToken: null });
  assert.match(closed.request("POST", "/announcements", { headers: ADMIN, body: { title: "x" } }).json().message, /no `adminToken`/);
});

test("tokens are compared as a whole", () => {
  assert.ok(equalInConstantTime("abc", "abc"));
  for (const other of ["", "ab", "abd", "abcabc", "abca"]) assert.ok(!equalInConstantTime(other, "abc"), other);
});

test("a draft that is none is refused with the reason", () => {
  const plugin = running([]);
  const refusal = (body: string | object) => {
    const response = plugin.request("POST", "/announcements", { headers: ADMIN, body });
    return `${response.status} ${response.json().message}`;
  };
  assert.match(refusal("{"), /^400 the body is not JSON/);
  assert.equal(refusal("[]"), "400 the body must be a JSON object");
  assert.equal(refusal({ title: " " }), "400 `title` must have 1 to 200 characters");
  assert.equal(refusal({ title: "x", level: "loud" }), "400 `level` must be one of info, maintenance, incident");
  assert.equal(refusal({ title: "x", ttlSeconds: 0.5 }), "400 `ttlSeconds` must be a whole number from 1 to 31622400");
  assert.equal(refusal({ title: "x", text: 1 }), "400 `text` must be a text of at most 4000 characters");
  assert.equal(refusal({ title: "x", message: "y" }), "400 `message` is not known: an announcement has `title`, `text`, `level` and `ttlSeconds`");
});

test("there is an end to the number of announcements", () => {
  const plugin = running([]);
  for (let n = 0; n < 50; n += 1) plugin.kv.set(`announcement:${String(n).padStart(11, "0")}`, { text: "{}", ttlSeconds: null });
  assert.equal(plugin.request("POST", "/announcements", { headers: ADMIN, body: { title: "x" } }).status, 409);
});

test("a configuration is taken, or refused with all that is wrong", () => {
  assert.deepEqual(readSettings({}), { title: "Status", description: "", adminToken: null, refreshSeconds: 60 });
  assert.throws(() => readSettings({ titel: "x", adminToken: "short", refreshSeconds: 1, title: 1 }), {
    name: "InvalidConfig",
    message:
      "`titel` is not known; title, description, adminToken, refreshSeconds are; `adminToken` must be a text of at least 16 characters; " +
      "`refreshSeconds` must be a whole number from 5 on, or 0 for never; `title` must be a text of at most 100 characters",
  });
});

test("numbers are rounded for people", () => {
  assert.deepEqual([1, 0.99999, 0.5, 0].map(renderPercent), ["100 %", "99.99 %", "50 %", "0 %"]);
  assert.deepEqual([-3, 0.4, 119, 120, 7_199, 7_200, 86_400, 604_800].map(renderSpan), [
    "0 s", "0 s", "119 s", "2 min", "120 min", "2 h", "24 h", "7 days",
  ]);
});
