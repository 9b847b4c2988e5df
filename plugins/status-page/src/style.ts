/** The page's only style sheet. Its hash is in the page's policy, so that no other is applied. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --surface: #fff; --text: #1c2430; --muted: #5d6878; --line: #dfe4ea;
  --up: #17803d; --down: #c62828; --warn: #b45f06; --unknown: #6b7688; --accent: #2457c5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #10151d; --surface: #19212c; --text: #e7ecf3; --muted: #9aa6b6; --line: #2b3645;
    --up: #4cc274; --down: #ff7b72; --warn: #f0a94a; --unknown: #8d99aa; --accent: #7ea6ff;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3rem 1.25rem; }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.25rem 0 .75rem; font-size: 1rem; color: var(--muted); font-weight: 600; }
p { margin: .25rem 0 0; }
.muted { color: var(--muted); font-size: .875rem; }
.overall { display: flex; align-items: center; gap: .75rem; margin-top: 1.75rem; padding: 1.125rem 1.25rem; border-radius: .625rem; color: #fff; font-size: 1.125rem; font-weight: 600; }
.overall.operational { background: #17803d; } .overall.outage { background: #b71c1c; }
.overall.degraded { background: #a35305; } .overall.unknown { background: #566173; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: .625rem; }
ul { list-style: none; margin: 0; padding: 0; }
.targets li { display: grid; grid-template-columns: auto 1fr auto; gap: .125rem .75rem; align-items: baseline; padding: .875rem 1.25rem; }
.targets li + li { border-top: 1px solid var(--line); }
.dot { width: .625rem; height: .625rem; border-radius: 50%; background: var(--unknown); }
.up .dot { background: var(--up); } .down .dot { background: var(--down); }
.name { font-weight: 600; overflow-wrap: anywhere; }
.state { font-weight: 600; color: var(--unknown); } .up .state { color: var(--up); } .down .state { color: var(--down); }
.details { grid-column: 2 / -1; }
.notice { padding: 1rem 1.25rem; border-left: .25rem solid var(--accent); overflow-wrap: anywhere; }
.notice + .notice { margin-top: .75rem; }
.notice.maintenance { border-left-color: var(--warn); } .notice.incident { border-left-color: var(--down); }
.notice strong { display: block; } .notice p { white-space: pre-wrap; }
.empty { padding: 1.25rem; }
footer { display: flex; flex-wrap: wrap; gap: 1rem; justify-content: space-between; align-items: center; margin-top: 2.25rem; }
button { font: inherit; font-size: .875rem; padding: .4rem .9rem; border-radius: .5rem; border: 1px solid var(--line); background: var(--surface); color: var(--text); cursor: pointer; }
button:hover, button:focus-visible { border-color: var(--accent); }
`;
