"""The look of the HTML report: light and dark, from a phone to paper."""

from postdo.report.elements import Html

CSS = Html("""
:root {
  color-scheme: light dark;
  --ground: #ffffff;
  --ink: #14211c;
  --soft: #52615a;
  --code: #eef1ee;
  --good: #0b6b4f;
  --warn: #8a5300;
  --bad: #b42318;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e1412;
    --ink: #eaf0ed;
    --soft: #a3b1aa;
    --code: #202a26;
    --good: #4fc79c;
    --warn: #f0b45a;
    --bad: #ff8f84;
  }
}
body {
  margin: 0;
  background: var(--ground);
  color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere;
  text-size-adjust: 100%;
}
main { max-width: 54rem; margin-inline: auto; padding: 1.5rem clamp(1rem, 4vw, 2rem) 4rem; }
h1 { font-size: clamp(1.35rem, 1.1rem + 1.4vw, 1.9rem); line-height: 1.25; margin: 0; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 2.5rem 0 0.75rem; }
p, ul, pre, details { margin: 0.3rem 0; }
ul { padding-left: 1.25rem; }
header { border-left: 0.4rem solid var(--tone); padding-left: 1rem; margin-bottom: 1.5rem; }
header p { color: var(--tone); font-weight: 650; }
.good { --tone: var(--good); }
.warn { --tone: var(--warn); }
.bad { --tone: var(--bad); }
.idle { --tone: var(--soft); }
code, pre { font: 0.85em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  background: var(--code); border-radius: 0.3em; padding: 0.1em 0.35em; }
pre { padding: 0.75rem 0.9rem; white-space: pre-wrap; line-height: 1.55; }
summary { cursor: pointer; }
footer { margin-top: 3rem; color: var(--soft); font-size: 0.85rem; }
@media print { main { max-width: none; padding: 0; } }
""")
