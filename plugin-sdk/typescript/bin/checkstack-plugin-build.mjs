#!/usr/bin/env node
// Makes a component of a plugin in TypeScript: bundles it, and puts the bundle into QuickJS.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { componentize } from "componentize-qjs";
import { build } from "esbuild";
import { fail, sdkItself, source, wit } from "./bundle.mjs";

const HELP = `Usage: checkstack-plugin-build [DIRECTORY] [--entry FILE] [--small]

Builds the plugin in DIRECTORY (default: the current one) into the file that checkstack.wasm of its
package.json names, and leaves the bundle beside it.

  --entry FILE  the module whose default export is the plugin (default: src/index.ts)
  --small       a third smaller, and slower at run time`;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { entry: { type: "string", default: "src/index.ts" }, small: { type: "boolean", default: false }, help: { type: "boolean" } },
});
if (options.help) {
  console.log(HELP);
  process.exit(0);
}

const started = performance.now();
const directory = resolve(positionals[0] ?? ".");
const metadata = readMetadata();
const output = join(directory, metadata.checkstack?.wasm ?? fail("package.json has no checkstack.wasm, the path of the component"));
const bundle = await makeBundle();

mkdirSync(dirname(output), { recursive: true });
writeFileSync(output.replace(/\.wasm$/, "") + ".js", bundle);
const { component } = await componentize({ witPath: wit, jsSource: bundle, world: "plugin", sync: true, stubWasi: true, optSize: options.small }).catch(
  (error) => fail(`${error.message}\nCode outside of functions runs now, at build time: nothing of the server can be used there.`),
);
writeFileSync(output, component);
console.log(`${output}  ${component.length} bytes  ${((performance.now() - started) / 1000).toFixed(1)} s`);

function readMetadata() {
  try {
    return JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
  } catch (error) {
    return fail(`cannot read package.json of the plugin: ${error.message}`);
  }
}

/** One module with everything in it but the imports of the plugin world. */
async function makeBundle() {
  const entry = `
    import ${JSON.stringify(source("globals.ts"))};
    import plugin from ${JSON.stringify(join(directory, options.entry))};
    import { componentOf } from ${JSON.stringify(source("component.ts"))};
    export const { lifecycle, handler, procedures, readiness, worker, listener } = componentOf(plugin);
  `;
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: directory, sourcefile: "component.js" },
    absWorkingDir: directory,
    bundle: true,
    charset: "utf8",
    external: ["checkstack:*"],
    format: "esm",
    legalComments: "none",
    logLevel: "warning",
    platform: "neutral",
    mainFields: ["module", "main"],
    plugins: [sdkItself],
    target: "es2023",
    write: false,
  }).catch(() => process.exit(1));
  return outputFiles[0].text;
}
