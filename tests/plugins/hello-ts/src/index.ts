// Does next to nothing, so that what is measured is the way to it; and tells its configuration to the log, where asked to.

import { definePlugin, HttpError, json, log, text } from "@checkstack/plugin-sdk";
import * as Type from "@checkstack/plugin-sdk/schema";

export default definePlugin({
  routes: (router) =>
    router
      .get("/hello", () => text("hello"))
      .get("/hello/{name}", (request) => json({ hello: request.params.name }))
      .post("/echo", (request) => json(request.json()))
      .get("/leak", (_, config) => {
        log.warn(`configured with ${JSON.stringify(config)}`, { token: String(config["token"]) });
        throw new Error(`no access with ${config["token"]}`);
      }),
  procedures: (procedures) =>
    procedures.rule({ resource: "greeting", level: "read", description: "Be greeted", isDefault: true }).query("greet", {
      summary: "Greets somebody",
      access: ["greeting.read"],
      input: Type.Object({ name: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
      output: Type.Object({ greeting: Type.String(), by: Type.String() }),
      run({ name }, _, { caller }) {
        if (name === "Voldemort") throw new HttpError(404, "nobody of that name");
        return { greeting: `Hello, ${name}!`, by: caller.kind };
      },
    }),
});
