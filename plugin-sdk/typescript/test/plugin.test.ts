import assert from "node:assert/strict";
import { test } from "node:test";
import { definePlugin, empty, escapeHtml, html, HttpError, http, InvalidConfig, json, kv, log, peers, seeOther, settings, sql, text, versioned } from "@checkstack/plugin-sdk";
import { start } from "@checkstack/plugin-sdk/testing";

const shop = definePlugin({
  config(given) {
    if (typeof given["name"] !== "string") throw new InvalidConfig("`name` must be a text");
    return { name: given["name"] };
  },
  routes: (router) =>
    router
      .get("/", (_, config) => html(`<h1>${escapeHtml(config.name)}</h1>`, { headers: { "Content-Security-Policy": "default-src 'none'" } }))
      .get("/items/{name}", (request) => json({ item: request.params.name }))
      .get("/items/new", () => text("form"))
      .post("/items", (request) => json(request.json(), { status: 201 }))
      .delete("/items/{name}", () => empty())
      .get("/files/{*path}", (request) => text(request.params.path))
      .get("/search", (request) => json({ q: request.queryValue("q") ?? null, token: request.bearerToken() ?? null }))
      .get("/broken", () => {
        throw new Error("secret detail");
      })
      .get("/teapot", () => {
        throw new HttpError(418, "short and stout");
      })
      .get("/moved", () => seeOther("/api/shop/"))
      .get("/asynchronous", (async () => text("late")) as never),
  probes: {
    stock: {
      critical: true,
      check() {
        if (kv.get("stock") === null) throw new Error("nothing in stock");
      },
    },
  },
});

const running = (server = {}) => start(shop, { config: { name: "Tom & Jerry's" }, ...server });

test("a request reaches its handler with decoded parameters", () => {
  const plugin = running();
  assert.deepEqual(plugin.request("GET", "/items/a%2Fb%20%C3%BC").json(), { item: "a/b ü" });
  assert.equal(plugin.request("GET", "/files/a/b/c.txt").text, "a/b/c.txt");
  assert.equal(plugin.request("GET", "/items/new").text, "form");
  assert.equal(plugin.request("HEAD", "/items/new").status, 200);
  assert.equal(plugin.request("DELETE", "/items/x").status, 204);
  const headers = { Authorization: "Bearer abc" };
  assert.deepEqual(plugin.request("GET", "/search?x&q=a+b%26c&q=2", { headers }).json(), { q: "a b&c", token: "abc" });
});

test("answers carry their content type and the headers that were given", () => {
  const page = running().request("GET", "/");
  assert.equal(page.text, "<h1>Tom &amp; Jerry&#39;s</h1>");
  assert.deepEqual(page.headers, { "content-security-policy": "default-src 'none'", "content-type": "text/html; charset=utf-8" });
  const made = running().request("POST", "/items", { body: { name: "Säge 😀" } });
  assert.equal(made.status, 201);
  assert.deepEqual(made.json(), { name: "Säge 😀" });
  assert.equal(running().request("GET", "/moved").headers["location"], "/api/shop/");
});

test("what is not there is a 404, and a method that is not there a 405 with the others", () => {
  const plugin = running();
  for (const path of ["/other", "/items/", "/items/a/b", "/items/%FF", "//", ""]) assert.equal(plugin.request("GET", path).status, 404, path);
  const refused = plugin.request("PATCH", "/items/x");
  assert.equal(refused.status, 405);
  assert.equal(refused.headers["allow"], "DELETE, GET");
  assert.equal(plugin.request("PUT", "/items").headers["allow"], "POST");
});

test("an error of the plugin is logged, and who asked learns nothing of it", () => {
  const plugin = running();
  const broken = plugin.request("GET", "/broken");
  assert.equal(broken.status, 500);
  assert.deepEqual(broken.json(), { error: "internal", message: "the plugin could not do this" });
  assert.deepEqual(plugin.log, [{ level: "error", message: "secret detail" }]);
  assert.deepEqual(plugin.request("GET", "/teapot").json(), { error: "refused", message: "short and stout" });
  assert.equal(plugin.request("POST", "/items", { body: "{" }).status, 400);
  assert.equal(plugin.request("GET", "/asynchronous").status, 500);
  assert.match(plugin.log.at(-1)!.message, /must be synchronous/);
});

test("a wrong configuration is an InvalidConfig with its message", () => {
  assert.throws(() => start(shop, { config: {} }), new InvalidConfig("`name` must be a text"));
});

test("probes", () => {
  const plugin = running();
  assert.deepEqual(plugin.probe("stock"), { ok: false, message: "nothing in stock" });
  kv.set("stock", 3);
  assert.deepEqual(plugin.probe("stock"), { ok: true, message: null });
  assert.equal(plugin.probe("other").ok, false);
});

test("a route that is none, or twice there, stops the build", () => {
  const define = (pattern: string) => () => definePlugin({ routes: (router) => router.get("/a/{b}", () => empty()).get(pattern, () => empty()) });
  assert.throws(define("/a/{c}"), /GET \/a\/\{c\} is there already/);
  assert.throws(define("a"), /begins with/);
  assert.throws(define("/{*a}/b"), /last segment/);
  assert.throws(define("/{a}/{a}"), /one name/);
  assert.throws(define("/a{b}"), /whole segment/);
  assert.doesNotThrow(define("/a"));
});

test("key-value pairs", () => {
  const plugin = running();
  kv.set("a", { n: 1 }, { ttlSeconds: 60 });
  kv.setText("b", "ü");
  assert.deepEqual(plugin.kv.get("a"), { text: '{"n":1}', ttlSeconds: 60 });
  assert.deepEqual([kv.get("a"), kv.getText("b"), kv.get("c")], [{ n: 1 }, "ü", null]);
  assert.deepEqual(kv.keys("", { after: "a" }), ["b"]);
  assert.deepEqual([kv.remove("a"), kv.remove("a")], [true, false]);
});

const moods = versioned({
  read: (data) => (data as { moods: string[] }).moods.map(String),
  migrations: [
    { description: "one mood became many", migrate: (old) => ({ moods: [old.mood] }) },
    {
      description: "no empty ones",
      migrate(old) {
        if (old.moods.includes("")) throw new Error("an empty mood");
        return old;
      },
    },
  ],
});

test("a setting is migrated once, and what an older release left stays", () => {
  const records = new Map([["mood", [{ version: 1, data: { mood: "calm" } }]]]);
  const plugin = running({ settings: records });
  assert.deepEqual(settings.get("mood", moods), ["calm"]);
  assert.deepEqual(plugin.settings.get("mood"), [{ version: 1, data: { mood: "calm" } }, { version: 3, data: { moods: ["calm"] } }]);
  settings.set("mood", moods, { moods: ["glad"] });
  assert.deepEqual(settings.get("mood", moods), ["glad"]);
  const first = versioned({ read: (data) => data });
  assert.deepEqual(settings.get("mood", first), { mood: "calm" });
  settings.set("mood", first, { mood: "tired" });
  assert.deepEqual(settings.get("mood", moods), ["tired"]);
  assert.deepEqual([settings.ids(), settings.remove("mood"), settings.remove("mood"), settings.get("mood", moods)], [["mood"], true, false, null]);
});

test("a setting that cannot be used says why, and stays as it is", () => {
  const records = new Map([
    ["empty", [{ version: 2, data: { moods: [""] } }]],
    ["odd", [{ version: 2, data: {} }]],
    ["newer", [{ version: 4, data: {} }]],
  ]);
  running({ settings: records });
  const unusable = (id: string, message: RegExp) => assert.throws(() => settings.get(id, moods), { name: "HostError", message });
  unusable("empty", /'empty' cannot be used: the migration from version 2 to 3 \(no empty ones\) failed: an empty mood/);
  unusable("odd", /'odd' cannot be used/);
  unusable("newer", /it is of version 4, which is newer/);
  assert.deepEqual([...records.values()].map((all) => all.length), [1, 1, 1]);
  assert.throws(() => versioned({ read: (data) => data, since: 3 }).parse(2, {}), { name: "VersionError", message: /from 3 on/ });
});

test("a configuration of an older version is brought up to date", () => {
  const plugin = definePlugin({
    config: (given) => given,
    configMigrations: [{ description: "the name moved", migrate: (old) => ({ shop: { name: old.name } }) }],
    routes: (router) => router.get("/", (_, config) => json(config)),
  });
  const answer = (config: object, configVersion?: number) => start(plugin, { config: { ...config }, ...(configVersion && { configVersion }) }).request("GET", "/").json();
  assert.deepEqual(answer({ name: "Tom" }), { shop: { name: "Tom" } });
  assert.deepEqual(answer({ shop: { name: "Tom" } }, 2), { shop: { name: "Tom" } });
  assert.throws(() => answer({}, 3), new InvalidConfig("spec.configVersion: it is of version 3, and this release of the plugin understands versions up to 2"));
});

test("statements have parameters, and rows have columns", () => {
  const asked: unknown[] = [];
  running({
    sql: (statement: string, parameters: unknown[]) => {
      asked.push(statement, parameters);
      return statement.startsWith("SELECT") ? [{ n: 7, at: new Date(5), tags: ["x"], none: null }] : 3;
    },
  });
  const at = new Date(1_000);
  const rows = sql<{ n: number }>`SELECT * FROM t WHERE a = ${"x"} AND b = ${2} AND c = ${at} AND d = ${null}`.all();
  assert.deepEqual(rows, [{ n: 7, at: new Date(5), tags: ["x"], none: null }]);
  assert.deepEqual(asked, ["SELECT * FROM t WHERE a = $1 AND b = $2 AND c = $3 AND d = $4", ["x", 2, 1_000_000, null]]);
  assert.equal(sql`DELETE FROM t`.run(), 3);
  assert.deepEqual(sql.transaction([sql`DELETE FROM t`, sql`DELETE FROM u`]), [3, 3]);
});

test("each kind of parameter has its type", () => {
  const statement = sql`${true}${1}${1.5}${10n ** 20n}${"t"}${new Uint8Array(1)}${{ a: 1 }}${sql.float(2)}${sql.uuid("u")}${undefined}${sql.json("j")}`;
  assert.deepEqual(statement.parameters.map(({ tag }) => tag), [
    "boolean", "integer", "float", "numeric", "text", "bytes", "json", "float", "uuid", "null", "json",
  ]);
});

test("requests to others, and what stands in their way", () => {
  running({
    http: (method: string, url: string, body: string) => ({ status: 201, headers: { "X-A": "1" }, body: `${method} ${url} ${body}` }),
    peers: (id: string, method: string, path: string) => (id === "up" ? { body: { method, path } } : null),
  });
  const reply = http.fetch("https://a.example/", { json: { n: 1 } });
  assert.deepEqual([reply.status, reply.ok, reply.header("x-a"), reply.text()], [201, true, "1", 'POST https://a.example/ {"n":1}']);
  assert.throws(() => reply.json(), { name: "HostError", reason: "unexpected" });
  assert.deepEqual(peers.call("up", "/x", { query: { a: "b c", n: 1 } }).json(), { method: "GET", path: "/x?a=b%20c&n=1" });
  assert.throws(() => peers.call("down", "/x"), { name: "HostError", reason: "unavailable", message: "plugin 'down' is not running" });
  assert.throws(() => sql`SELECT 1`.all(), { name: "HostError", reason: "denied" });
});

test("log lines", () => {
  const plugin = running();
  log.warn("careful", { n: 1, none: undefined });
  assert.deepEqual(plugin.log, [{ level: "warn", message: "careful" }]);
});
