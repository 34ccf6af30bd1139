// The channels, worst first: an element each, made once and then kept up to date. The style sheet
// makes rows, a dense board or a wall of tiles of them.

import { arrange, byId, h, setAttribute, setText } from './dom.js';
import { bits, count, packets } from './format.js';
import { reading } from './flows.js';
import { icon, setIcon } from './icons.js';
import { share } from './share.js';
import { inWords, recentOf, rescuedOf, strip } from './strip.js';
import { Thumb } from './thumbs.js';

const TRANSPORTS = [
  ['http', 'HTTP'],
  ['tcp', 'TCP'],
  ['websocket', 'WebSocket'],
  ['sse', 'SSE'],
  ['socketio', 'Socket.IO'],
  ['udp', 'UDP'],
];
const rows = new Map();

/** The address of a channel's detail. */
export const detailOf = (name) => `#/channel/${encodeURIComponent(name)}`;

/** Whether a browser may be able to play it: a transport stream, or what is likely to be one. */
export const isFilm = (content, format) => content === 'mpeg-ts' || (content === null && (format === 'rtp' || format === 'ts'));

/** What a channel carries, as its icon says it. */
export const kindOf = (content, format) => (isFilm(content, format) ? 'film' : content === 'json' || content === 'text' ? 'sensor' : 'stream');

function makeRow(name) {
  const mark = icon('stream');
  const stateIcon = icon('ok');
  const parts = {
    mark,
    thumb: new Thumb(mark),
    link: h('a', { class: 'name', href: detailOf(name), title: name }, name),
    more: h('p', { class: 'more' }),
    stateIcon,
    stateWord: h('span', { class: 'state-word' }),
    bits: h('strong'),
    packets: h('span'),
    strip: strip(),
    saved: h('span', { class: 'saved' }),
    gone: h('span', { class: 'gone' }),
    audience: h('strong'),
    who: h('span'),
    cause: h('p', { class: 'cause', hidden: true }),
    copy: h('button', { type: 'button', class: 'copy', 'aria-label': `Copy the address of ${name}`, title: 'Address, QR code, commands' }, icon('share'), h('span', { class: 'word' }, 'Copy')),
    play: h('a', { class: 'button primary play', href: `${detailOf(name)}?play`, 'aria-label': `Play ${name}`, title: 'Play' }, icon('play'), h('span', { class: 'word' }, 'Play')),
  };
  parts.state = h('span', { class: 'state' }, stateIcon, parts.stateWord);
  parts.res = h('div', { class: 'res' }, parts.saved, parts.gone);
  const element = h(
    'li',
    { class: 'channel', 'data-name': name },
    parts.thumb.element,
    h('div', { class: 'who' }, parts.link, parts.more),
    parts.state,
    h('div', { class: 'rate' }, parts.bits, parts.packets),
    parts.strip.element,
    parts.res,
    h('div', { class: 'view' }, parts.audience, parts.who),
    parts.cause,
    h('div', { class: 'acts' }, parts.copy, parts.play),
  );
  const row = { element, parts, about: null };
  parts.copy.addEventListener('click', () => share(row.about));
  // The whole row opens the detail; keyboards and readers have the link.
  element.addEventListener('click', (event) => {
    if (event.target.closest('a, button') || String(getSelection())) return;
    const plays = event.target.closest('.thumb') && !parts.play.hidden;
    location.hash = plays ? `${detailOf(name)}?play` : detailOf(name);
  });
  return row;
}

/** How many listen, and by what; outputs are those of the configuration. */
export function audience(channels, row) {
  const words = TRANSPORTS.filter(([key]) => channels[key][row] > 0).map(([key, word]) => [channels[key][row], word]);
  const outputs = channels.outputs[row];
  if (outputs > 0) words.push([outputs, `output${outputs === 1 ? '' : 's'}`]);
  const sum = words.reduce((sum, [value]) => sum + value, 0);
  const one = words.length === 1;
  return { sum, words: one ? words[0][1] : words.map(([value, word]) => `${count(value)} ${word}`).join(', ') };
}

function drawRow(row, channels, index, shares) {
  const { element, parts } = row;
  const health = channels.health[index];
  const [content, format] = [channels.content[index], channels.format[index]];
  row.about = { name: channels.name[index], path: channels.path[index], kind: kindOf(content, format) };
  setAttribute(element, 'data-health', health);
  setAttribute(parts.state, 'data-health', health);
  setIcon(parts.stateIcon, health);
  setIcon(parts.mark, row.about.kind);
  setText(parts.stateWord, health);
  const playable = isFilm(content, format) && health !== 'silent';
  if (parts.play.hidden === playable) parts.play.hidden = !playable;
  parts.thumb.shows(row.about);
  drawReason(parts, channels, index, health);
  if (health !== 'silent') drawFigures(parts, channels, index, shares);
}

/** Inputs as they fit into a row: the groups, and where they are joined. */
const shortly = (inputs) =>
  inputs.replace(/(\w+):\/\/@?([^\s?]+)(?:\?(\S*))?/g, (_, scheme, address, query) => [scheme === 'udp' ? '' : scheme, address, new URLSearchParams(query).get('if')].filter(Boolean).join(' '));

function drawReason(parts, channels, index, health) {
  const reason = channels.reason[index];
  const flows = channels.flows[index];
  const inputs = `${shortly(channels.inputs[index])}${flows <= 1 ? '' : `, ${count(flows)} flows`}`;
  const silent = health === 'silent';
  const value = channels.reading[index];
  // What a sensor says is what one looks for; its inputs are in the title.
  const reads = value !== null && !silent && !reason;
  setText(parts.more, reads ? reading(value) : silent || !reason ? inputs : reason);
  setAttribute(parts.more, 'class', reads ? 'more reading' : silent || !reason ? 'more address' : 'more');
  setAttribute(parts.more, 'title', [reason, channels.inputs[index]].filter(Boolean).join('\n'));
  if (parts.cause.hidden === silent) parts.cause.hidden = !silent;
  setText(parts.cause, silent ? reason : '');
  setAttribute(parts.cause, 'title', silent ? reason : null);
}

function drawFigures(parts, channels, index, shares) {
  setText(parts.bits, bits(channels.bits_per_second[index]));
  setText(parts.packets, packets(channels.packets_per_second[index]));
  parts.strip.draw(shares?.lost ?? [], shares?.rescued ?? []);
  const recent = recentOf(channels, index);
  const rescued = rescuedOf(recent);
  setText(parts.saved, `${count(rescued)} rescued`);
  setAttribute(parts.saved, 'data-none', rescued === 0 ? '' : null);
  setText(parts.gone, `${count(recent.lost)} lost`);
  setAttribute(parts.gone, 'data-none', recent.lost === 0 ? '' : null);
  setAttribute(parts.res, 'title', `Of the last 60 s: ${inWords(recent)}`);
  const who = audience(channels, index);
  setText(parts.audience, count(who.sum));
  setText(parts.who, who.words);
  setAttribute(parts.who, 'title', who.words);
}

/** Draws the rows that came. */
export function drawChannels(channels, strips, view) {
  const shown = channels.name.map((name, index) => {
    if (!rows.has(name)) rows.set(name, makeRow(name));
    const row = rows.get(name);
    drawRow(row, channels, index, strips.get(name));
    return row.element;
  });
  arrange(byId('channels'), shown);
  if (rows.size > 2 * channels.name.length + 100) forgetAllBut(new Set(channels.name));
  drawNone(channels, view);
  const more = byId('channels-more');
  more.hidden = channels.total <= channels.name.length;
  setText(more, `${count(channels.name.length)} of ${count(channels.total)} channels are shown: search for others`);
}

function drawNone(channels, view) {
  const isEmpty = !view.search && !view.health;
  const none = byId('channels-none');
  none.hidden = channels.total > 0 || isEmpty;
  byId('first-steps').hidden = channels.total > 0 || !isEmpty;
  const of = view.search ? ` with “${view.search}” in its name or inputs` : '';
  setText(none, `No channel${of}${view.health ? ` is ${view.health} at present` : ''}.`);
  setText(byId('channels-shown'), view.health && channels.total > 0 ? `only ${view.health}` : '');
}

/** The link of a channel's row, as long as there is one. */
export const linkOf = (name) => rows.get(name)?.parts.link;

function forgetAllBut(names) {
  for (const [name, row] of rows) {
    if (names.has(name)) continue;
    row.parts.thumb.end();
    rows.delete(name);
  }
}
