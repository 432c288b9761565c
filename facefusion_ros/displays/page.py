"""The page that WebPage serves: one document, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib

_STYLE = """
:root { color-scheme: dark; --ground: #0f1113; --line: #23282c; --ink: #dfe3e6; --faint: #838d95; --accent: #8fbcc4;
  --warn: #d9a866; }
* { box-sizing: border-box; margin: 0; }
html { background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif;
  -webkit-text-size-adjust: 100%; }
body { min-height: 100vh; min-height: 100dvh; display: flex; flex-direction: column; }
header { display: flex; align-items: baseline; gap: .75rem; padding: .8rem 1.25rem; }
h1 { font-size: 1rem; font-weight: 600; letter-spacing: .01em; }
#persona { color: var(--faint); }
#state { margin-left: auto; color: var(--faint); font-size: .85rem; white-space: nowrap; }
#state::before { content: ""; display: inline-block; width: .5rem; height: .5rem; margin-right: .5rem;
  border-radius: 50%; background: var(--warn); }
#state.live::before { background: #79b98a; }
main { flex: 1; display: grid; grid-template-columns: minmax(0, 1fr) 19rem; gap: 1.5rem; padding: 0 1.25rem 1.25rem; }
figure { min-width: 0; display: flex; align-items: flex-start; }
img { width: 100%; max-height: calc(100vh - 4.5rem); max-height: calc(100dvh - 4.5rem); object-fit: contain;
  object-position: top center; background: #08090a; border-radius: 4px; min-height: 8rem; }
aside { display: flex; flex-direction: column; gap: 1.4rem; font-variant-numeric: tabular-nums; }
dl { display: grid; }
dt, .name { color: var(--faint); font-size: .85rem; }
#main { grid-template-columns: repeat(3, 1fr); }
#main div { display: flex; flex-direction: column; }
#main dd { font-size: 1.7rem; line-height: 1.25; font-weight: 300; }
small { font-size: .8rem; color: var(--faint); margin-left: .25em; }
svg { display: block; width: 100%; height: 3.5rem; overflow: visible; }
polyline { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke;
  stroke-linejoin: round; }
.axis { display: flex; justify-content: space-between; color: var(--faint); font-size: .75rem; padding-top: .3rem;
  border-top: 1px solid var(--line); }
#stages { display: grid; grid-template-columns: auto 1fr auto; gap: .4rem .75rem; align-items: center; }
#stages > :nth-child(3n) { text-align: right; }
.bar { height: 4px; border-radius: 2px; background: var(--line); overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); border-radius: 2px; }
#readings { grid-template-columns: 1fr auto; row-gap: .35rem; border-top: 1px solid var(--line); padding-top: 1rem; }
#readings dd { text-align: right; }
#readings .warn { color: var(--warn); }
@media (max-width: 900px) {
  header { padding: .7rem .9rem; }
  main { display: block; padding: 0 0 1.25rem; }
  img { border-radius: 0; max-height: 62vh; }
  aside { padding: 1.1rem .9rem 0; }
}
"""

_SCRIPT = """
'use strict';
const element = id => document.getElementById(id);
const make = (tag, kind, text) => Object.assign(document.createElement(tag), {className: kind, textContent: text});
const past = [], longest = 150;

function digits(value) {
  if (typeof value !== 'number') return value === null || value === undefined ? '\\u2013' : String(value);
  if (Number.isInteger(value)) return value.toLocaleString('en');
  return value.toFixed(Math.abs(value) < 1 ? 2 : Math.abs(value) < 100 ? 1 : 0);
}

function quantity(node, value, unit) {
  node.textContent = digits(value);
  if (unit && typeof value === 'number') node.append(make('small', '', unit));
}

function spark(value) {
  if (typeof value !== 'number') return;
  past.push(value);
  if (past.length > longest) past.shift();
  const top = Math.max(...past) * 1.1 || 1;
  element('line').setAttribute('points',
    past.map((v, i) => `${(longest - past.length + i) * 100 / (longest - 1)},${40 - 40 * v / top}`).join(' '));
  element('newest').textContent = `${digits(value)} ms`;
}

function stages(numbers) {
  const found = Object.entries(numbers).filter(([key]) => key.startsWith('stage.'))
    .map(([key, value]) => [key.slice(6).replace(/_ms$/, ''), value]);
  const box = element('stages');
  if (box.childElementCount !== 3 * found.length) {
    box.replaceChildren(...found.flatMap(() => {
      const bar = make('div', 'bar', '');
      bar.append(document.createElement('i'));
      return [make('span', 'name', ''), bar, make('span', '', '')];
    }));
  }
  const longestStage = Math.max(...found.map(([, value]) => value || 0), 1);
  found.forEach(([name, value], i) => {
    box.children[3 * i].textContent = name;
    box.children[3 * i + 1].firstChild.style.width = `${100 * (value || 0) / longestStage}%`;
    quantity(box.children[3 * i + 2], value, 'ms');
  });
}

function readings(numbers) {
  const rows = [['faces', numbers.faces, ''], ['frames dropped', numbers.dropped, ''], ['light', numbers.lux, 'lx'],
    ['rotation', typeof numbers.gyro_rad_s === 'number' ? numbers.gyro_rad_s * 180 / Math.PI : null, '\\u00b0/s']];
  const known = /^(fps|latency_.*|stage\\..*|faces|dropped|lux|gyro_rad_s|persona)$/;
  for (const [key, value] of Object.entries(numbers)) if (!known.test(key)) rows.push([key, value, '']);
  element('readings').replaceChildren(...rows.flatMap(([name, value, unit]) => {
    const reading = make('dd', name === 'frames dropped' && value > 0 ? 'warn' : '', '');
    quantity(reading, value, unit);
    return [make('dt', '', name), reading];
  }));
}

function show(numbers) {
  quantity(element('fps'), typeof numbers.fps === 'number' ? Math.round(numbers.fps * 10) / 10 : null, '');
  quantity(element('p50'), numbers.latency_p50_ms, 'ms');
  quantity(element('p95'), numbers.latency_p95_ms, 'ms');
  element('persona').textContent = numbers.persona || '';
  spark(numbers.latency_ms ?? numbers.latency_p50_ms);
  stages(numbers);
  readings(numbers);
}

let lost = false;
function live(yes) {
  element('state').className = yes ? 'live' : '';
  element('state').textContent = yes ? 'live' : 'no connection';
  if (yes && lost) element('picture').src = `stream.mjpg?${Date.now()}`;
  lost = !yes;
}
const events = new EventSource('events');
events.onopen = () => live(true);
events.onerror = () => live(false);
events.onmessage = event => show(JSON.parse(event.data));
element('picture').onerror = () => setTimeout(() => { element('picture').src = `stream.mjpg?${Date.now()}`; }, 2000);
"""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="theme-color" content="#0f1113">
<title>facefusion_ros</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<header><h1>facefusion_ros</h1><span id="persona"></span><span id="state">connecting</span></header>
<main>
<figure><img id="picture" src="stream.mjpg" alt="live picture"></figure>
<aside>
<dl id="main">
<div><dt>frames/s</dt><dd id="fps">&ndash;</dd></div>
<div><dt>latency p50</dt><dd id="p50">&ndash;</dd></div>
<div><dt>p95</dt><dd id="p95">&ndash;</dd></div>
</dl>
<div>
<svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true"><polyline id="line"/></svg>
<div class="axis"><span>capture to display</span><span id="newest"></span></div>
</div>
<div id="stages"></div>
<dl id="readings"></dl>
</aside>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
""".encode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'; "
    f"img-src 'self' data:; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}"
)
"""Nothing but this page's own style, script, picture and numbers."""
