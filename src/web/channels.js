// The channels, worst first: a row each, made once and then kept up to date.

import { arrange, byId, h, setAttribute, setText } from './dom.js';
import { bits, count, packets, time } from './format.js';
import { bar, recentOf, strip } from './strip.js';

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

function makeRow(name) {
  const parts = {
    state: h('span', { class: 'state' }),
    link: h('a', { class: 'name', href: detailOf(name) }, name),
    more: h('p', { class: 'more' }),
    packets: h('strong'),
    bits: h('span', { class: 'quiet' }),
    strip: strip(),
    bar: bar(),
    hold: h('span'),
    subscribers: h('span'),
    play: h('a', { class: 'button play', href: `${detailOf(name)}?play`, 'aria-label': `Play ${name}` }, 'Play'),
  };
  const cell = (label, ...children) => h('div', { class: 'cell', 'data-label': label }, ...children);
  const element = h(
    'li',
    { class: 'channel', 'data-name': name },
    h('div', { class: 'cell cell-state' }, parts.state),
    h('div', { class: 'cell cell-name' }, parts.link, parts.more),
    cell('Rate', parts.packets, parts.bits),
    cell('Loss, 60 s', parts.strip.element),
    cell('Packets, 60 s', parts.bar.element),
    cell('Hold', parts.hold),
    cell('Subscribers', parts.subscribers),
    h('div', { class: 'cell cell-play' }, parts.play),
  );
  // The whole row opens the detail; keyboards and readers have the link.
  element.addEventListener('click', (event) => {
    if (!event.target.closest('a') && !String(getSelection())) location.hash = detailOf(name);
  });
  return { element, parts };
}

/** Who listens, by transport; outputs are those of the configuration. */
export function audience(channels, row) {
  const words = TRANSPORTS.filter(([key]) => channels[key][row] > 0).map(([key, word]) => `${count(channels[key][row])} ${word}`);
  const outputs = channels.outputs[row];
  if (outputs > 0) words.push(`${outputs} output${outputs === 1 ? '' : 's'}`);
  return words.length > 0 ? words.join(', ') : 'none';
}

function drawRow({ element, parts }, channels, row, shares) {
  const health = channels.health[row];
  setAttribute(element, 'data-health', health);
  setAttribute(parts.state, 'data-health', health);
  const reason = channels.reason[row];
  const flows = channels.flows[row];
  setText(parts.more, reason || `${channels.inputs[row]}${flows === 1 ? '' : `, ${count(flows)} flows`}`);
  setAttribute(parts.more, 'title', [reason, channels.inputs[row]].filter(Boolean).join('\n'));
  setText(parts.packets, packets(channels.packets_per_second[row]));
  setText(parts.bits, bits(channels.bits_per_second[row]));
  parts.strip.draw(shares ?? []);
  parts.bar.draw(recentOf(channels, row));
  setText(parts.hold, flows > 0 ? time(channels.hold_seconds[row]) : '');
  setText(parts.subscribers, audience(channels, row));
  const playable = isFilm(channels.content[row], channels.format[row]);
  if (parts.play.hidden === playable) parts.play.hidden = !playable;
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
  const none = byId('channels-none');
  none.hidden = channels.total > 0;
  setText(none, view.search ? `No channel has “${view.search}” in its name or inputs.` : 'There is no channel.');
  const more = byId('channels-more');
  more.hidden = channels.total <= channels.name.length;
  setText(more, `${count(channels.name.length)} of ${count(channels.total)} channels are shown: search for others`);
}

function forgetAllBut(names) {
  for (const name of rows.keys()) if (!names.has(name)) rows.delete(name);
}
