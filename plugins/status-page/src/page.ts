import { escapeHtml } from "@checkstack/plugin-sdk";
import type { Announcement, Level } from "./announcements.ts";
import type { Change } from "./changes.ts";
import type { Settings } from "./settings.ts";
import { STYLE } from "./style.ts";
import type { Summary } from "./summary.ts";
import type { Target } from "./targets.ts";

/** Of `STYLE`, as a test makes sure. */
const STYLE_HASH = "sha256-BL7LxJa+gYGkfLcM5vmtF3rf4cernw/jmQVQWkr89ck=";

/** What a browser may do with the page: show it, with its own style, and send its own form. */
export const CONTENT_SECURITY_POLICY = `default-src 'none'; style-src '${STYLE_HASH}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`;

const COLOURS = { operational: "17803d", degraded: "a35305", outage: "b71c1c", unknown: "566173" };
const SIGNS = { operational: "&#10003;", degraded: "!", outage: "&#10007;", unknown: "?" };
const STATES = { up: "Up", down: "Down", unknown: "Not checked yet" };
const LEVELS: Record<Level, string> = { info: "Information", maintenance: "Maintenance", incident: "Incident" };

/** The page as a whole. */
export function renderPage(settings: Settings, summary: Summary): string {
  const title = escapeHtml(summary.title);
  const now = new Date(summary.generatedAt);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">${
    settings.refreshSeconds > 0 ? `\n<meta http-equiv="refresh" content="${settings.refreshSeconds}">` : ""
  }
<title>${escapeHtml(summary.message)} &#8211; ${title}</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23${COLOURS[summary.state]}'/%3E%3C/svg%3E">
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${title}</h1>${settings.description === "" ? "" : `\n<p class="muted">${escapeHtml(settings.description)}</p>`}
<div class="overall ${summary.state}" role="status"><span aria-hidden="true">${SIGNS[summary.state]}</span>${escapeHtml(summary.message)}</div>
${renderAnnouncements(summary.announcements)}${renderTargets(summary, now)}${renderChanges(summary.changes)}
<footer>
<span class="muted">As of ${renderTime(summary.generatedAt)}</span>
<form method="post" action="/api/status-page/refresh"><button>Check now</button></form>
</footer>
</main>
</body>
</html>
`;
}

function renderAnnouncements(announcements: Announcement[]): string {
  if (announcements.length === 0) return "";
  const notices = announcements.map(({ level, title, text, publishedAt, endsAt }) => {
    const until = endsAt === null ? "" : `, until ${renderTime(endsAt)}`;
    return `<article class="card notice ${level}"><strong>${escapeHtml(title)}</strong>${
      text === "" ? "" : `<p>${escapeHtml(text)}</p>`
    }<p class="muted">${LEVELS[level]}, ${renderTime(publishedAt)}${until}</p></article>`;
  });
  return `<h2>Announcements</h2>\n${notices.join("\n")}\n`;
}

function renderTargets(summary: Summary, now: Date): string {
  if (summary.windowSeconds === null) {
    return `<h2>Systems</h2>\n<p class="card empty">The checks are not available at the moment. This page shows them as soon as they are.</p>`;
  }
  if (summary.targets.length === 0) return `<h2>Systems</h2>\n<p class="card empty">There is nothing to check.</p>`;
  const window = renderSpan(summary.windowSeconds);
  const items = summary.targets.map((target) => {
    const details = renderDetails(target, window, now);
    return `<li class="${target.state}"><span class="dot" aria-hidden="true"></span><span class="name">${escapeHtml(target.name)}</span><span class="state">${
      STATES[target.state]
    }</span>${details === "" ? "" : `<span class="details muted">${details}</span>`}</li>`;
  });
  return `<h2>Systems</h2>\n<ul class="card targets">\n${items.join("\n")}\n</ul>`;
}

function renderChanges(changes: Change[]): string {
  if (changes.length === 0) return "";
  const items = changes.map(({ target, up, at, problem }) => {
    const details = [renderTime(at), ...(problem === null ? [] : [escapeHtml(problem)])].join(" &#183; ");
    return `<li class="${up ? "up" : "down"}"><span class="dot" aria-hidden="true"></span><span class="name">${escapeHtml(target)}</span><span class="state">${
      up ? "Came back" : "Went down"
    }</span><span class="details muted">${details}</span></li>`;
  });
  return `\n<h2>What has happened</h2>\n<ul class="card targets">\n${items.join("\n")}\n</ul>`;
}

function renderDetails(target: Target, window: string, now: Date): string {
  const parts: string[] = [];
  if (target.problem !== null) parts.push(escapeHtml(target.problem));
  if (target.availability !== null) parts.push(`${renderPercent(target.availability)} up in the last ${window}`);
  if (target.state === "up" && target.latencyMs !== null) parts.push(`${target.latencyMs} ms`);
  if (target.checkedAt !== null) parts.push(`checked ${renderSpan((now.getTime() - Date.parse(target.checkedAt)) / 1_000)} ago`);
  return parts.join(" &#183; ");
}

/** Never rounded up to 100 %: a short outage was one. */
export function renderPercent(part: number): string {
  const percent = Math.floor(part * 10_000) / 100;
  return `${percent} %`;
}

/** In the largest unit of which there are two. */
export function renderSpan(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 2 * 60 * 60) return `${Math.round(whole / 60)} min`;
  if (whole < 2 * 24 * 60 * 60) return `${Math.round(whole / 3_600)} h`;
  return `${Math.round(whole / 86_400)} days`;
}

function renderTime(rfc3339: string): string {
  return `<time datetime="${escapeHtml(rfc3339)}">${escapeHtml(rfc3339.slice(0, 16).replace("T", " "))} UTC</time>`;
}
