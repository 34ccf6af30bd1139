// The contrast of the page's colours, from its style sheets: each colour that text has, on each ground that it stands on, 4.5:1;
// each that a shape has, 3:1 (WCAG 2.2, 1.4.3 and 1.4.11), in light and in dark.
//
//   node contrast.mjs FOLDER

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const [folder] = process.argv.slice(2);
const files = readdirSync(folder).filter((name) => name.endsWith('.css'));
const sheets = files.map((name) => readFileSync(join(folder, name), 'utf8').replace(/\/\*[^]*?\*\//g, ''));

const GROUNDS = ['page', 'panel', 'raised', 'tint-degraded', 'tint-silent'];
/** The core's gradient is a shape of the product's picture, on the panel only. */
const ON_PANEL = ['stream-in', 'stream-core', 'stream-out'];
/** Lines that separate and carry nothing. */
const SEPARATORS = ['line'];
const GROUND_ONLY = ['page', 'panel', 'raised'];

const tokens = new Map();
for (const [, name, light, dark] of sheets.join('\n').matchAll(/--([\w-]+):\s*light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)) tokens.set(name, [light, dark]);
assert(tokens.size > 15, `${tokens.size} colours`);

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
const luminance = (rgb) => rgb.map(linear).reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
const mixed = (a, b, share) => a.map((value, index) => value * share + b[index] * (1 - share));

function colour(name, theme) {
  const own = (token) => channels(tokens.get(token)[theme]);
  const tint = /^tint-(.*)/.exec(name);
  return tint ? mixed(own(tint[1]), own('panel'), share(tint[1])) : own(name);
}

/** How much of a state's colour its rows are tinted with. */
function share(state) {
  const found = new RegExp(`background: color-mix\\(in srgb, var\\(--${state}\\) (\\d+)%, var\\(--panel\\)\\)`).exec(sheets.join('\n'));
  assert(found, `rows of ${state} are tinted`);
  return Number(found[1]) / 100;
}

function contrast(one, other, theme) {
  const [low, high] = [one, other].map((name) => luminance(colour(name, theme))).sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

const used = (property) => new Set(sheets.flatMap((sheet) => [...sheet.matchAll(new RegExp(`(?<![\\w-])(?:${property}):[^;}]*`, 'g'))].flatMap(([text]) => [...text.matchAll(/var\(--([\w-]+)\)/g)].map(([, name]) => name))));
const texts = [...used('color')].filter((name) => tokens.has(name) && !name.startsWith('on-') && name !== 'line');
const shapes = [...used('fill|stroke|background|border|border-color|stop-color|outline')].filter((name) => tokens.has(name) && ![...GROUND_ONLY, ...SEPARATORS].includes(name));
// What only the charts' canvas has: lines, not text.
const probes = new Set([...sheets.join('\n').matchAll(/\.probe-[\w-]+ \{ color: var\(--([\w-]+)\)/g)].map(([, name]) => name));
const written = texts.filter((name) => !probes.has(name) || new RegExp(`(?<!probe-${name} \\{ )(?<![\\w-])color: var\\(--${name}\\)`).test(sheets.join('\n')));

const failures = [];
let pairs = 0;
const check = (name, ground, least) => {
  for (const theme of [0, 1]) {
    pairs += 1;
    const found = contrast(name, ground, theme);
    if (found < least) failures.push(`${name} on ${ground}, ${['light', 'dark'][theme]}: ${found.toFixed(2)}, expected ${least}`);
  }
};
for (const name of written) for (const ground of GROUNDS) check(name, ground, 4.5);
check('on-accent', 'accent', 4.5);
check('on-danger', 'silent', 4.5);
for (const name of shapes) for (const ground of ON_PANEL.includes(name) ? ['panel'] : GROUNDS) check(name, ground, 3);
for (const name of probes) if (name !== 'line') check(name, 'panel', 3);
assert.deepEqual(failures, []);
console.log(`${pairs} pairs of colours`);
