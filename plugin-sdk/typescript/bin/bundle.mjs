// What building and testing a plugin have in common: where the SDK is, and how its names resolve.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";

const sdk = dirname(dirname(fileURLToPath(import.meta.url)));

/** A file of the SDK's source. */
export const source = (name) => join(sdk, "src", name);

/** The plugin world: beside the SDK in its repository, within it in its npm package. */
export const wit = [join(sdk, "wit"), join(sdk, "..", "wit")].find((directory) => existsSync(directory));

/** Resolves `@checkstack/plugin-sdk` to the SDK that this tool is part of: there is never a second one. */
export const sdkItself = {
  name: "sdk-itself",
  setup(build) {
    build.onResolve({ filter: /^@checkstack\/plugin-sdk$/ }, () => ({ path: source("index.ts") }));
    build.onResolve({ filter: /^@checkstack\/plugin-sdk\/(schema|testing)$/ }, ({ path }) => ({ path: source(`${path.split("/").at(-1)}.ts`) }));
  },
};

/** Ends the program with what is wrong, without a stack. */
export function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}
