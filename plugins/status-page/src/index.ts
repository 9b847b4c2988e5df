// Status page: what is up and what is not, for everybody, and announcements by those with the token.

import { definePlugin, empty, html, json, log, seeOther } from "@checkstack/plugin-sdk";
import * as announcements from "./announcements.ts";
import * as changes from "./changes.ts";
import { requireAdmin } from "./access.ts";
import { CONTENT_SECURITY_POLICY, renderPage } from "./page.ts";
import { readSettings, type Settings } from "./settings.ts";
import { summarise } from "./summary.ts";
import { checkNow, fetchTargets } from "./targets.ts";

const HOME = "/api/status-page/";

export default definePlugin<Settings>({
  config: readSettings,
  subscriptions: changes.subscriptions,
  routes: (router) =>
    router
      .get("/", (_, settings) => {
        const page = renderPage(settings, currentSummary(settings));
        return html(page, { headers: { "content-security-policy": CONTENT_SECURITY_POLICY, "cache-control": "no-cache" } });
      })
      .get("/summary.json", (_, settings) => json(currentSummary(settings), { headers: { "cache-control": "no-cache" } }))
      .post("/refresh", () => {
        checkNow();
        return seeOther(HOME);
      })
      .post("/announcements", (request, settings) => {
        requireAdmin(request, settings);
        const announcement = announcements.publish(request.json());
        log.info("an announcement was published", { id: announcement.id });
        return json(announcement, { status: 201, headers: { location: `${HOME}announcements/${announcement.id}` } });
      })
      .get("/announcements/{id}", (request) => json(announcements.find(request.params.id)))
      .delete("/announcements/{id}", (request, settings) => {
        requireAdmin(request, settings);
        announcements.withdraw(request.params.id);
        log.info("an announcement was withdrawn", { id: request.params.id });
        return empty();
      }),
});

function currentSummary(settings: Settings) {
  return summarise(settings, fetchTargets(), announcements.list(), changes.latest(), new Date());
}
