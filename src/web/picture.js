// The picture of the flow: what comes in, what is lost on the way, what brings it back, and who
// gets it; widths by rate. It lies where there is room, and stands upright on a phone. Only the
// rates' shares are drawn to scale; losses would not be seen, so their widths follow the square
// root of their shares.

import { byId, setAttribute } from './dom.js';
import { bits, count, packets, plural } from './format.js';
import { Drawing } from './drawing.js';

const UPRIGHT_BELOW = 560;
const NODE = 7;
const FEW = 4;
const RECEIVERS = [
  [['http'], 'HTTP', 'player'],
  [['udp'], 'UDP', 'host'],
  [['websocket', 'sse', 'socketio'], 'WebSocket, SSE', 'page', 'Pages'],
  [['tcp'], 'TCP', 'program'],
  [['outputs'], 'Outputs', 'target'],
];
const rates = { run: 0, at: 0, bytes: new Map(), shown: new Map() };
let drawing = null;
let size = { width: 0, height: 0 };
let last = null;

/** Bytes per second that each kind of receiver got since the last message, smoothed: chunks come
 * in bursts. */
function measure(receivers, at, run) {
  const seconds = run === rates.run ? (at - rates.at) / 1000 : 0;
  for (const [name, { bytes }] of Object.entries(receivers)) {
    if (seconds > 0) {
      const now = Math.max(0, bytes - (rates.bytes.get(name) ?? bytes)) / seconds;
      rates.shown.set(name, ((rates.shown.get(name) ?? now) + now) / 2);
    }
    if (seconds !== 0 || rates.run !== run) rates.bytes.set(name, bytes);
  }
  Object.assign(rates, { at, run });
}

function inputsOf(totals) {
  const known = totals.inputs.map(({ name, leg, bits_per_second: rate }) => ({
    key: `${name}/${leg}`,
    label: name,
    short: leg ? `${name} ${leg}` : name,
    figure: `${leg ? `path ${leg}: ` : ''}${bits(rate)}`,
    brief: bits(rate),
    value: rate,
    idle: rate === 0,
  }));
  const named = known.reduce((sum, input) => sum + input.value, 0);
  const others = totals.legs - known.length;
  if (others > 0) known.push({ key: '+others', label: `${count(others)} more`, figure: bits(Math.max(0, totals.bits_per_second - named)), value: Math.max(0, totals.bits_per_second - named) });
  if (totals.silent > 0) known.push({ key: '+silent', label: `${count(totals.silent)} silent`, figure: '', value: 0, idle: true });
  return known;
}

function outputsOf(totals) {
  const all = RECEIVERS.map(([names, label, noun, short = label]) => {
    const clients = names.reduce((sum, name) => sum + totals.receivers[name].clients, 0);
    const value = names.reduce((sum, name) => sum + (rates.shown.get(name) ?? 0), 0);
    return { key: label, label, short, figure: plural(clients, noun), value, clients };
  }).filter(({ clients }) => clients > 0);
  return all.length > 0 ? all : [{ key: '+nobody', label: 'Nobody listens', figure: 'at present', value: 0, idle: true }];
}

/** Where everything stands: along the flow, and across it. */
function layoutOf(width, height) {
  const upright = width < UPRIGHT_BELOW;
  if (upright) {
    const tray = Math.min(210, width * 0.62);
    return { upright, width, height, from: 48, core: [136, 282], across: [6, tray - 56], to: height - 56, tray, rescues: [166, 210, 254], end: 312, span: [0, width], pitch: width };
  }
  const labels = Math.min(190, width * 0.21);
  const middle = width * 0.5;
  const half = Math.min(122, width * 0.16);
  const core = [middle - half, middle + half];
  const step = (core[1] - core[0]) / 3;
  const rescues = [0.5, 1.5, 2.5].map((place) => core[0] + place * step);
  return { upright, width, height, from: labels, core, across: [38, 146], to: width - labels + 12, tray: 206, rescues, end: core[1] + step * 0.62, span: [4, height - 8], pitch: 46 };
}

/** How much room each node has across the flow, of `all` there is: as much as its size, and at
 * least as its words need. */
function roomsOf(sizes, all, pitch) {
  const large = sizes.filter((size) => size + 8 > pitch);
  const rest = all - large.reduce((sum, size) => sum + size + 8, 0);
  const small = Math.min(pitch, rest / Math.max(1, sizes.length - large.length));
  return sizes.map((size) => (size + 8 > pitch ? size + 8 : small));
}

/** Nodes across the flow: as wide as their share of the core, as far as there is room. */
function placed(nodes, layout) {
  const core = layout.across[1] - layout.across[0];
  const all = layout.span[1] - layout.span[0];
  const pitch = Math.min(layout.pitch, all / nodes.length);
  const sum = nodes.reduce((sum, node) => sum + node.value, 0);
  const band = Math.min(core, Math.max(core * 0.4, all - nodes.length * pitch * 0.8));
  const shareOf = (node) => (sum > 0 ? node.value / sum : 1 / nodes.length);
  const sizes = nodes.map((node) => (node.idle ? 0 : Math.max(3, shareOf(node) * band)));
  const rooms = roomsOf(sizes, all, pitch);
  const needed = rooms.reduce((sum, room) => sum + room, 0);
  const middle = layout.upright ? layout.width / 2 : (layout.across[0] + layout.across[1]) / 2;
  let at = Math.max(layout.span[0], Math.min(middle - needed / 2, layout.span[1] - needed));
  const total = sizes.reduce((sum, size) => sum + size, 0) || 1;
  let inCore = layout.across[0];
  return nodes.map((node, index) => {
    const [size, room] = [sizes[index], rooms[index]];
    const share = (size / total) * core;
    const result = { ...node, size, room, start: at + (room - size) / 2, middle: at + room / 2, core: inCore, share };
    at += room;
    inCore += share;
    return result;
  });
}

/** On a phone there is room for the words of a few: the others become one. */
function few(nodes, layout) {
  if (!layout.upright || nodes.length <= FEW) return nodes;
  const idle = nodes.filter((node) => node.idle).slice(-1);
  const isRest = ({ key }) => Number(key === '+others');
  const busy = nodes.filter((node) => !node.idle).sort((a, b) => isRest(a) - isRest(b) || b.value - a.value);
  const kept = busy.slice(0, FEW - 1 - idle.length);
  const value = busy.slice(kept.length).reduce((sum, node) => sum + node.value, 0);
  return [...kept, { key: '+rest', label: 'others', figure: bits(value * (busy[0].clients ? 8 : 1)), value }, ...idle];
}

function drawSide(nodes, layout, kind) {
  const incoming = kind === 'in';
  const [near, far] = incoming ? [layout.from, layout.core[0]] : [layout.to, layout.core[1]];
  const edge = incoming ? near + NODE : near - NODE;
  for (const node of nodes) {
    const key = `${kind}:${node.key}`;
    const end = node.core + node.share / 2;
    if (node.idle) {
      // Nothing flows: a line that ends on its way.
      drawing.curve(`${key}:idle`, 'idle', edge, node.middle, edge + (far - edge) * 0.45, node.middle, true);
    } else {
      drawing.ribbon(`${key}:ribbon`, `ribbon-${kind}`, edge, node.start, node.size, far, node.core, node.share);
      const [a, b] = incoming ? [edge, far] : [far, edge];
      const [from, to] = incoming ? [node.middle, end] : [end, node.middle];
      if (node.value > 0) drawing.curve(`${key}:pulse`, 'pulse', a, from, b, to);
      drawing.box(`${key}:node`, 'node', Math.min(near, edge), node.start, NODE, node.size, 3);
    }
    words(key, node, layout, incoming, near);
  }
}

function words(key, node, layout, incoming, near) {
  const { label, short, figure, brief, middle, room } = node;
  if (layout.upright) {
    const at = incoming ? near - 28 : near + 18;
    drawing.text(`${key}:label`, 'middle', middle, at, short ?? label, room / 7.4);
    drawing.text(`${key}:figure`, 'small figure middle', middle, at + 16, brief ?? figure, room / 7);
    return;
  }
  const side = incoming ? near - 10 : near + 10;
  const anchor = incoming ? ' end' : '';
  const space = incoming ? layout.from - 12 : layout.width - near - 10;
  const shift = figure ? -2 : 4;
  drawing.text(`${key}:label`, anchor, side, middle + shift, label, space / 7.6);
  drawing.text(`${key}:figure`, `small figure${anchor}`, side, middle + 14, figure, space / 7);
}

/** What was lost before the relay leaves the stream, runs along the core, is put back from there,
 * and what is left falls out. */
function drawRescues(totals, layout) {
  const ways = [
    ['by FEC', totals.recent_recovered_fec],
    ['by path', totals.recent_other_leg],
    ['by request', totals.recent_recovered_retransmission],
  ];
  const lost = totals.recent_lost;
  const all = ways.reduce((sum, [, value]) => sum + value, lost);
  const wide = (value) => (value > 0 ? 2.5 + 9 * Math.sqrt(value / all) : 0);
  const { tray, rescues, core, across, end } = layout;
  let left = all;
  let from = rescues[0] - 20;
  if (all > 0) drawing.drop('falls', wide(all), core[0], across[1] - 2, from, tray);
  ways.forEach(([label, value], index) => {
    const at = rescues[index];
    if (left > 0) drawing.line(`tray:${index}`, 'falls', wide(left), from, tray, at, tray);
    if (value > 0) {
      drawing.rise(`back:${index}`, wide(value), at, tray, across[1]);
      drawing.curve(`back-pulse:${index}`, 'back-pulse', at, tray - 4, at, across[1], true);
    }
    left -= value;
    from = at;
    note(`way:${index}`, value > 0 ? 'rescued' : 'none', at, layout, label, value);
  });
  if (lost > 0) drawing.fall('lost', from, end, tray);
  note('lost', lost > 0 ? 'lost' : 'none', end, layout, 'lost', lost);
}

function note(key, kind, at, layout, label, value) {
  if (layout.upright) {
    drawing.text(`${key}:count`, `count ${kind}`, layout.tray + 18, at + 5, count(value));
    drawing.text(`${key}:label`, 'small', layout.tray + 26 + count(value).length * 8.6, at + 5, label);
    return;
  }
  drawing.text(`${key}:count`, `count middle ${kind}`, at, layout.tray + 38, count(value));
  drawing.text(`${key}:label`, 'small middle', at, layout.tray + 55, label);
}

function drawCore(totals, layout) {
  const [start, end] = layout.core;
  const [top, bottom] = layout.across;
  drawing.box('core', 'core', start, top - 4, end - start, bottom - top + 8, 14);
  const [x, y] = layout.upright ? [(top + bottom) / 2, (start + end) / 2] : [(start + end) / 2, (top + bottom) / 2];
  drawing.text('core:rate', 'title middle', x, y - 6, bits(totals.bits_per_second));
  drawing.text('core:packets', 'small middle', x, y + 14, `${packets(totals.packets_per_second)} packets`);
  drawing.text('core:order', 'small middle', x, y + 31, 'in order');
}

function describe(totals, outputs) {
  const ways = `${count(totals.recent_recovered_fec)} by FEC, ${count(totals.recent_other_leg)} by another path, ${count(totals.recent_recovered_retransmission)} by request`;
  const who = outputs.map(({ label, figure }) => `${label}: ${figure}`).join(', ');
  return `${bits(totals.bits_per_second)} come in. Rescued within the last minute: ${ways}; lost: ${count(totals.recent_lost)}. Out: ${who}.`;
}

function render() {
  const { width, height } = size;
  if (!last || width === 0) return;
  const layout = layoutOf(width, height);
  drawing.begin(width, height, layout.upright);
  const outputs = outputsOf(last);
  drawRescues(last, layout);
  drawSide(placed(few(inputsOf(last), layout), layout), layout, 'in');
  drawSide(placed(few(outputs, layout), layout), layout, 'out');
  drawCore(last, layout);
  drawing.end();
  setAttribute(drawing.element, 'aria-label', describe(last, outputs));
}

/** Draws the picture of these sums. */
export function drawPicture(totals, at, run) {
  if (totals.channels === 0) return;
  measure(totals.receivers, at, run);
  last = totals;
  if (!drawing) {
    drawing = new Drawing();
    byId('picture').append(drawing.element);
    // Asking for it with each message would cost a layout.
    new ResizeObserver(([{ contentRect }]) => {
      size = contentRect;
      render();
    }).observe(byId('picture'));
  }
  render();
}
