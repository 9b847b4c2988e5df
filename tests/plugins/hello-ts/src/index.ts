// Does next to nothing, so that what is measured is the way to it.

import { definePlugin, json, text } from "@checkstack/plugin-sdk";

export default definePlugin({
  routes: (router) =>
    router
      .get("/hello", () => text("hello"))
      .get("/hello/{name}", (request) => json({ hello: request.params.name }))
      .post("/echo", (request) => json(request.json())),
});
