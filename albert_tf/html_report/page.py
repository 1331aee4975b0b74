"""The page: its file, its frame and its style."""

import dataclasses
import html
from collections.abc import Sequence

from albert_tf.files import write_text


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: a heading in plain text, and HTML in which all text from outside is escaped."""

    heading: str
    html: str


def write_report(path: str, title: str, sections: Sequence[Section]) -> None:
    """Writes the whole page, or no file; InputError if the path is a folder or cannot be written."""
    headings = [escaped(section.heading) for section in sections]
    body = "\n".join(
        f'<section id="section-{i}">\n<h2>{heading}</h2>\n{section.html}\n</section>'
        for i, (heading, section) in enumerate(zip(headings, sections, strict=True))
    )
    links = "\n".join(f'<a href="#section-{i}">{heading}</a>' for i, heading in enumerate(headings))
    body = f"<nav>\n{links}\n</nav>\n{body}"
    page = _PAGE.format(title=escaped(title), style=_STYLE, body=body)
    write_text(path, page)


def escaped(text: object) -> str:
    """Makes HTML of a text, also for attributes; control characters and lone surrogates become visible."""
    return html.escape(str(text).translate(_VISIBLE))


_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"}  # ␀, ␁, ...
_VISIBLE |= {0x7F: 0x2421} | dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000)], 0xFFFD)

# Under this policy a browser loads and runs nothing, whatever the sections hold.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""

# People with any kind of colour vision can tell blue from orange. --right and --wrong are these two as red,
# green and blue: tables need them behind text.
_STYLE = """\
:root { --page: #fff; --ink: #1d2125; --soft: #5c6670; --line: #dbe0e4; --card: #f6f8f9;
  --blue: #0b65a8; --orange: #b84e00; --right: 11 101 168; --wrong: 226 105 10;
  --shade: 0 0 0; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #15181b; --ink: #e5e8eb; --soft: #9ba5ae; --line: #32383e; --card: #1c2024;
    --blue: #62b0ea; --orange: #f09a4d; --right: 30 118 190; --wrong: 190 92 14;
    --shade: 255 255 255; } }
* { box-sizing: border-box; }
body { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
h1 { margin: 0; font-size: 1.75rem; font-weight: 650; line-height: 1.25; letter-spacing: -0.01em; }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin-top: 0.75rem; }
nav a { color: var(--blue); text-decoration: none; }
nav a:hover { text-decoration: underline; }
section { margin-top: 2.75rem; }
h2 { margin: 0 0 1rem; padding-bottom: 0.35rem; border-bottom: 1px solid var(--line);
  font-size: 1.125rem; font-weight: 650; break-after: avoid; }
p { max-width: 46rem; margin: 0 0 1rem; color: var(--soft); }
dl, dd, figure { margin: 0; }
small { color: var(--soft); }
.note { padding: 0.5rem 0.9rem; border-left: 0.25rem solid var(--orange);
  background: var(--card); color: var(--ink); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.3rem 1.5rem; }
.facts dt, .figures dt, .answers dt, .texts dt { color: var(--soft); }
.facts dd { white-space: pre-wrap; }
.facts span { display: inline-block; }
.figures { display: flex; flex-wrap: wrap; gap: 1.25rem 3rem; }
.figures div { display: flex; flex-direction: column-reverse; }
.figures dd { font-size: 2.25rem; font-weight: 600; line-height: 1.2; letter-spacing: -0.02em; }
.figures small { display: block; font-size: 0.875rem; font-weight: 400; letter-spacing: 0; }
/* A shadow shows at a side where a wide table goes on: covers of the page's colour scroll with the table. */
.wide { overflow-x: auto; scrollbar-width: thin; scrollbar-color: var(--soft) var(--line);
  background: linear-gradient(to right, var(--page) 1rem, transparent) 0 0 / 3rem 100% no-repeat local,
    linear-gradient(to left, var(--page) 1rem, transparent) 100% 0 / 3rem 100% no-repeat local,
    linear-gradient(to right, rgb(var(--shade) / 0.25), transparent) 0 0 / 0.9rem 100% no-repeat scroll,
    linear-gradient(to left, rgb(var(--shade) / 0.25), transparent) 100% 0 / 0.9rem 100% no-repeat scroll; }
table { border-collapse: collapse; overflow-wrap: normal; }
th, td { padding: 0.4rem 0 0.4rem 2rem; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap; }
th { font-weight: 400; }
thead th { color: var(--soft); }
th:first-child { padding-left: 0; text-align: left; }
.pairs th:nth-child(2), .pairs td:nth-child(2) { text-align: left; }
.bar { width: 12rem; height: 0.6rem; background: var(--line); }
.bar i { display: block; height: 100%; background: var(--blue); }
.matrix { border-collapse: separate; border-spacing: 3px; }
.matrix th, .matrix td { padding: 0.45rem 0.75rem; border: 0; }
.matrix th:first-child { padding-left: 0; }
.matrix thead th + th { text-align: center; }
.matrix td { min-width: 6.5rem; text-align: center; background: rgb(var(--hue) / calc(0.7 * var(--depth))); }
.matrix td { box-shadow: inset 0 0 0 1px rgb(var(--hue) / 0.18); }
.matrix small { display: block; color: inherit; }
.matrix .right { --hue: var(--right); }
.matrix .wrong { --hue: var(--wrong); }
.dense { border-spacing: 1px; font-size: 0.75rem; line-height: 1.2; }
.dense th { padding: 0.1rem 0.4rem; }
.dense td { min-width: 1.75rem; padding: 0.35rem 0.15rem; }
.dense thead th { vertical-align: bottom; }
.dense thead span { writing-mode: vertical-rl; transform: rotate(180deg); }
.charts { display: grid; gap: 1.5rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); }
.charts + .wide { margin-top: 1.5rem; }
.chart { max-width: 34rem; break-inside: avoid; }
.charts .chart { max-width: 27rem; }
.chart svg { display: block; width: 100%; height: auto; overflow: visible; }
.chart svg { stroke-linejoin: round; }
figcaption { margin-bottom: 0.4rem; color: var(--soft); }
figcaption b { margin-right: 0.4rem; color: var(--ink); font-weight: 600; }
article { margin-top: 1rem; padding: 0.9rem 1.1rem; border-radius: 0.4rem;
  background: var(--card); break-inside: avoid; }
.answers { display: flex; flex-wrap: wrap; gap: 0.1rem 1.75rem; margin-bottom: 0.6rem; }
.answers div { display: flex; gap: 0.5rem; }
.answers dt { white-space: nowrap; }
.answers dd { font-weight: 600; }
.answers div:nth-child(2) dd { color: var(--orange); }
.texts { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; }
.texts dd { white-space: pre-line; }
mark { padding: 0.1em 0; background: none; color: var(--ink);
  --blue-tint: rgb(var(--right) / 0.2); --orange-tint: rgb(var(--wrong) / 0.2); }
.reference { background: var(--blue-tint); border-bottom: 2px solid var(--blue); }
.predicted { background: var(--orange-tint);
  text-decoration: underline dashed 2px var(--orange); text-underline-offset: 0.15em; }
.reference.predicted { background: linear-gradient(var(--orange-tint) 50%, var(--blue-tint) 50%); }
summary { display: block; cursor: pointer; }
summary u { color: var(--blue); text-decoration: none; white-space: nowrap; }
details[open] summary span, details:not([open]) summary > u { display: none; }
@media (max-width: 36rem) {
  body { padding-top: 1.5rem; }
  .facts, .texts { grid-template-columns: 1fr; gap: 0; }
  .facts dd, .texts dd { margin-bottom: 0.5rem; }
  th, td { padding-left: 1.25rem; }
  .bar { width: 5rem; } .matrix td { min-width: 4rem; } .dense td { min-width: 1.75rem; }
}
@media print { body { max-width: none; padding: 0; font-size: 0.85rem; } }
"""
