"""The bench as one page that opens offline. Pure: results in, HTML out; drawings are plain SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jinja2 import Environment

from huidu.foundation.chart import Scale
from rollout.bench.run import Detection, Result, conclusion, word
from rollout.bench.watch import THIS

_COLOURS = {THIS: "#0b7a5c"}
_OTHERS = ("#b4541a", "#5b6ee1", "#9a4fb0", "#8a8a1f", "#c0392b")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>huidu: bench of the judge</title>
<style>
:root{color-scheme:light dark;--ink:#1b1f24;--mute:#667;--line:#d9dde3;--paper:#fff;--good:#0b7a5c;
--bad:#c0392b}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--mute:#9aa3ad;--line:#3a4048;--paper:#16191d;
--good:#3ecf9f;--bad:#ff7b6b}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1080px;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{margin-top:2.2rem;font-size:1.1rem}p{color:var(--mute);max-width:75ch}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}td,th{padding:.35rem .6rem;text-align:left;
border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600;color:var(--mute)}
.yes{color:var(--good);font-weight:600}.no{color:var(--bad);font-weight:600}
svg{max-width:100%;height:auto;min-width:640px}svg text{fill:var(--ink);font:12px system-ui,sans-serif}
svg .mute{fill:var(--mute)}svg line{stroke:var(--line)}
.key span{display:inline-block;margin-right:1.2rem}.key i{display:inline-block;width:.8em;height:.8em;
border-radius:50%;margin-right:.35em}
</style></head><body>
<h1>Bench of the judge</h1>
<p>{{ runs }} simulated rollouts, seed {{ seed }}{{ ", quick" if quick }}. The same evidence is given to every
method. {{ conclusion }}</p>
<h2>Good releases: how often is one rolled back for nothing?</h2>
<p>Both arms run the same version. The dot is the measured part, the line goes to its upper 95 % limit, the
dashed line is the promise of 1 %.</p>
<p class="key">{% for name, colour in key %}
<span><i style="background:{{ colour }}"></i>{{ name }}</span>{% endfor %}</p>
<div class="wide">{{ harmless|safe }}</div>
<h2>Bad releases: how long until the rollback?</h2>
<p>Seconds from the start of the harm: median, and from the 10th to the 90th percentile; half an hour is
watched. What was rolled back before there was any harm is named at the right: it is luck, not detection.</p>
<div class="wide">{{ defects|safe }}</div>
<h2>The ramp: time, harm and exposure</h2>
<div class="wide"><table><tr><th>Release</th><th>Median</th><th>90 %</th><th>Promoted</th><th>Rolled back</th>
<th>Failed requests added</th><th>Customers' requests exposed</th><th>Promise broken</th></tr>
{% for r in ramp %}<tr><td>{{ r.cell }}</td><td>{{ minutes(r.numbers.median_minutes) }}</td>
<td>{{ minutes(r.numbers.ninetieth_minutes) }}</td><td>{{ "%.1f %%"|format(100 * r.numbers.promoted) }}</td>
<td>{{ "%.1f %%"|format(100 * r.numbers.rolled_back) }}</td><td>{{ "%.1f"|format(r.numbers.harm_mean) }}</td>
<td>{{ "{:,.0f}".format(r.numbers.exposed_median) }}</td>
<td>{{ "%.1f %%"|format(100 * r.numbers.promise_broken) }}</td></tr>{% endfor %}</table></div>
<h2>Bars</h2>
<div class="wide"><table><tr><th>Cell</th><th>Runs</th><th>Bar</th><th>Measured</th><th></th></tr>
{% for r in results %}<tr><td>{{ r.cell }}</td><td>{{ r.runs }}</td><td>{{ r.bar or "none" }}</td>
<td>{{ r.measured }}</td><td class="{{ {true: 'yes', false: 'no'}.get(r.reached, '') }}">
{{ word(r, quick) }}</td></tr>{% endfor %}</table></div>
</body></html>
"""


def page(results: Sequence[Result], seed: int, quick: bool) -> str:
    """The page."""
    methods = list(dict.fromkeys(each.method for result in results for each in result.methods))
    colours = {name: _COLOURS.get(name, _OTHERS[i % len(_OTHERS)]) for i, name in enumerate(methods)}
    template = Environment(autoescape=True).from_string(_PAGE)
    return template.render(
        results=results,
        ramp=[result for result in results if result.kind == "ramp"],
        runs=f"{sum(result.runs for result in results):,}",
        seed=seed,
        quick=quick,
        conclusion=conclusion(results, quick),
        word=word,
        key=list(colours.items()),
        harmless=_harmless([result for result in results if result.kind == "harmless"], colours),
        defects=_defects([result for result in results if result.kind == "defect"], colours),
        minutes=lambda value: f"{value * 60:.0f} s" if value < 2 else f"{value:.1f} min",
    )


_LEFT, _WIDTH, _ROW = 260.0, 780.0, 16.0


def _harmless(results: Sequence[Result], colours: dict[str, str]) -> str:
    def x(part: float) -> float:
        return _LEFT + Scale(0.0, 1.0, math.sqrt)(part) * (_WIDTH - 20)

    drawn, y = [], 26.0
    for part in (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0):
        drawn.append(f'<text class="mute" x="{x(part):.1f}" y="12" text-anchor="middle">{part:.0%}</text>')
    top = y
    for result in results:
        drawn.append(f'<text x="0" y="{y + 6:.1f}">{result.cell}</text>')
        for each in result.methods:
            colour, left = colours[each.method], x(each.rolled_back)
            drawn.append(
                f'<line x1="{left:.1f}" x2="{x(each.upper):.1f}" y1="{y:.1f}" y2="{y:.1f}" '
                f'style="stroke:{colour}"/><circle cx="{left:.1f}" cy="{y:.1f}" r="4" fill="{colour}">'
                f"<title>{each.method}: {each.rolled_back:.2%}</title></circle>"
            )
            y += _ROW * 0.55
        y += _ROW
    promise = f"{x(0.01):.1f}"
    drawn.append(
        f'<line x1="{promise}" x2="{promise}" y1="{top - 8:.1f}" y2="{y:.1f}" stroke-dasharray="4 4"/>'
    )
    return _svg(drawn, y)


def _defects(results: Sequence[Result], colours: dict[str, str]) -> str:
    def x(seconds: float) -> float:
        return _LEFT + Scale(5.0, 3600.0, math.log)(seconds) * (_WIDTH - 160)

    drawn, y = [], 26.0
    for seconds in (5, 15, 60, 180, 600, 1800, 3600):
        label = f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
        drawn.append(f'<text class="mute" x="{x(seconds):.1f}" y="12" text-anchor="middle">{label}</text>')
    for result in results:
        drawn.append(f'<text x="0" y="{y + 6:.1f}">{result.cell}</text>')
        for each in result.methods:
            drawn.append(_detection(each, x, y, colours[each.method]))
            y += _ROW * 0.8
        y += _ROW
    return _svg(drawn, y)


def _detection(each: Detection, x: object, y: float, colour: str) -> str:
    assert callable(x)
    note = f"early {each.early:.0%}" if each.early >= 0.005 else ""
    if each.median is None:
        note = f"not in half of the runs {note}"
    end = _LEFT + _WIDTH - 150
    drawn = f'<text class="mute" x="{end:.1f}" y="{y + 4:.1f}">{note}</text>' if note else ""
    if each.tenth is not None:
        last = x(each.ninetieth) if each.ninetieth is not None else x(3600.0)
        drawn += (
            f'<line x1="{x(each.tenth):.1f}" x2="{last:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            f'style="stroke:{colour};stroke-width:3;opacity:.45"/>'
        )
    if each.median is not None:
        drawn += (
            f'<circle cx="{x(each.median):.1f}" cy="{y:.1f}" r="4.5" fill="{colour}">'
            f"<title>{each.method}: median {each.median:.0f} s</title></circle>"
        )
    return drawn


def _svg(drawn: Sequence[str], height: float) -> str:
    return (
        f'<svg viewBox="0 0 {_LEFT + _WIDTH:.0f} {height + 8:.0f}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(drawn)}</svg>'
    )
