#!/usr/bin/env node
// Runs the tests of a plugin, `test/*.test.ts`, with node's test runner and a server in memory.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { fail, sdkItself } from "./bundle.mjs";

const directory = resolve(process.argv[2] ?? ".");
const tests = join(directory, "test");
const files = existsSync(tests) ? readdirSync(tests).filter((name) => name.endsWith(".test.ts")) : [];
if (files.length === 0) fail(`there is no ${join(tests, "*.test.ts")}`);

/** The functions of the interfaces that the world imports. */
const HOST = {
  log: ["write"],
  config: ["get", "version"],
  clock: ["now", "monotonic"],
  "key-value": ["get", "set", "delete", "keys"],
  settings: ["get", "set", "migrate", "delete", "ids"],
  sql: ["query", "execute", "transact"],
  "http-client": ["send"],
  plugins: ["call"],
  jobs: ["enqueue", "schedule", "cancel", "scheduled"],
  events: ["emit"],
  entities: ["mutate", "remove", "inStateSince", "transitionCount"],
  signals: ["broadcast", "sendToUsers", "sendToAuthorizedUsers"],
  cache: ["get", "set", "delete", "deleteByPrefix"],
};

/** Answers `checkstack:plugin/…` with what the running test has put in place. */
const hostInMemory = {
  name: "host-in-memory",
  setup(build) {
    build.onResolve({ filter: /^checkstack:plugin\// }, ({ path }) => ({ path, namespace: "host" }));
    build.onLoad({ filter: /.*/, namespace: "host" }, ({ path }) => {
      const name = /^checkstack:plugin\/([a-z-]+)@/.exec(path)[1];
      const functions = HOST[name].map((key, index) => `const f${index} = (...given) => globalThis.checkstackTestHost[${JSON.stringify(name)}].${key}(...given);`);
      const exports = HOST[name].map((key, index) => `f${index} as ${JSON.stringify(key)}`);
      return { contents: `${functions.join("\n")}\nexport { ${exports.join(", ")} };` };
    });
  },
};

const output = mkdtempSync(join(tmpdir(), "checkstack-plugin-test-"));
try {
  await build({
    entryPoints: files.map((name) => join(tests, name)),
    absWorkingDir: directory,
    bundle: true,
    format: "esm",
    logLevel: "warning",
    outdir: output,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    plugins: [sdkItself, hostInMemory],
    sourcemap: "inline",
    target: "node20",
  });
  const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=spec", output], { stdio: "inherit", cwd: directory });
  process.exitCode = run.status ?? 1;
} catch {
  process.exitCode = 1;
} finally {
  rmSync(output, { recursive: true, force: true });
}
