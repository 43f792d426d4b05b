"""The look of the HTML report: light and dark, from a phone to paper."""

from postdo.report.elements import Html

CSS = Html("""
:root {
  color-scheme: light dark;
  --ground: #f6f7f5;
  --surface: #ffffff;
  --ink: #14211c;
  --soft: #52615a;
  --line: #dfe4e0;
  --code: #eef1ee;
  --good: #0b6b4f;
  --warn: #8a5300;
  --bad: #b42318;
  --good-wash: #e3f2ec;
  --warn-wash: #fbefd9;
  --bad-wash: #fdeae8;
  --mono: ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e1412;
    --surface: #161e1b;
    --ink: #eaf0ed;
    --soft: #a3b1aa;
    --line: #28332e;
    --code: #202a26;
    --good: #4fc79c;
    --warn: #f0b45a;
    --bad: #ff8f84;
    --good-wash: #14302a;
    --warn-wash: #33270f;
    --bad-wash: #3a1c19;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0;
  background: var(--ground);
  color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere;
}
main {
  max-width: 54rem;
  margin-inline: auto;
  padding: clamp(1rem, 4vw, 3rem) clamp(1rem, 4vw, 2rem) 4rem;
}
h1, h2, h3, p, ul, ol, dl, dd, pre { margin: 0; }
h1 { font-size: clamp(1.35rem, 1.1rem + 1.4vw, 1.9rem); line-height: 1.25; font-weight: 650;
  letter-spacing: -0.015em; text-wrap: balance; }
h2 { font-size: 1.15rem; line-height: 1.3; font-weight: 650; margin: 2.5rem 0 0.75rem; }
h3 { font-size: 0.95rem; font-weight: 600; margin: 1.25rem 0 0.5rem; color: var(--soft); }
section > * + :not(h3) { margin-top: 0.75rem; }
ul, ol { padding-left: 1.25rem; }
li + li { margin-top: 0.3rem; }
.soft { color: var(--soft); }
.small { font-size: 0.9rem; }
code, pre { font-family: var(--mono); font-size: 0.85em; }
code { background: var(--code); border-radius: 0.3em; padding: 0.1em 0.35em; }
pre {
  background: var(--code); border-radius: 0.5rem; padding: 0.75rem 0.9rem; margin-top: 0.6rem;
  white-space: pre-wrap; line-height: 1.55;
}
.verdict { border-radius: 0.9rem; padding: clamp(1.1rem, 3vw, 1.75rem);
  background: var(--wash); border: 1px solid var(--tone); }
.verdict > * + * { margin-top: 0.6rem; }
.good { --tone: var(--good); --wash: var(--good-wash); }
.warn { --tone: var(--warn); --wash: var(--warn-wash); }
.bad { --tone: var(--bad); --wash: var(--bad-wash); }
.idle { --tone: var(--soft); --wash: var(--code); }
.word { color: var(--tone); font-weight: 650; font-size: 0.95rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: 0.9rem 1.5rem; margin-top: 1.5rem; }
.facts dt { color: var(--soft); font-size: 0.85rem; }
.facts dd { font-weight: 550; line-height: 1.4; }
.card { background: var(--surface); border: 1px solid var(--line); border-radius: 0.75rem;
  padding: 0.9rem 1.1rem; }
.card + .card { margin-top: 0.75rem; }
.card > * + * { margin-top: 0.5rem; }
.what { font-weight: 550; }
.badge { display: inline-block; border-radius: 1em; padding: 0.05em 0.65em; font-size: 0.8rem;
  font-weight: 550; color: var(--tone); background: var(--wash); white-space: nowrap; }
details > summary { cursor: pointer; }
details.card { padding-block: 0; }
details.card > summary { padding-block: 0.8rem; margin: 0; }
details.card[open] { padding-bottom: 0.9rem; }
summary .badge { margin-left: 0.35rem; }
.scroll { overflow-x: auto; background: var(--surface); border: 1px solid var(--line);
  border-radius: 0.75rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; line-height: 1.45; }
th, td { text-align: left; vertical-align: top; padding: 0.6rem 0.9rem; overflow-wrap: break-word; }
th { font-weight: 550; color: var(--soft); white-space: nowrap; }
tbody tr { border-top: 1px solid var(--line); }
td p + p { margin-top: 0.25rem; }
.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar { display: block; height: 0.3rem; min-width: 2px; border-radius: 0.15rem; margin-top: 0.35rem;
  background: var(--soft); }
.none { color: var(--soft); }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line);
  color: var(--soft); font-size: 0.85rem; }
@media (max-width: 40rem) {
  thead { display: none; }
  tr, td { display: block; }
  tbody tr { padding: 0.6rem 0; }
  tbody tr:first-child { border-top: 0; }
  td { padding: 0.15rem 0.9rem; }
  td:empty, td.none { display: none; }
  td[data-label]::before { content: attr(data-label); display: block; color: var(--soft);
    font-size: 0.8rem; margin-top: 0.25rem; }
}
@media print {
  body { background: none; }
  main { max-width: none; padding: 0; }
  .card, .scroll, .verdict { break-inside: avoid; }
}
""")
