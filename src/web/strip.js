// The two small pictures of a channel. The strip shows each of the last 60 s on a fixed
// logarithmic scale, so that rows compare, and so do yesterday and today: what was rescued stands
// above the line, what was lost hangs below it. The bar shows what became of the packets of those
// 60 s, in proportion, with a few pixels at least for whatever there was.

import { h, setAttribute, svg } from './dom.js';
import { count, percent } from './format.js';

const SECONDS = 60;
const MIDDLE = 15;
const HEIGHT = 30;
const DECADES = 4; // 0.01 % to 100 %

/** Where a share of 0 to 1 stands on the scale: 0 to 1. */
const height = (share) => (share > 0 ? Math.min(1, Math.max(0.1, (Math.log10(share) + DECADES) / DECADES)) : 0);

/** One column for each second in which there was something, upwards or downwards. */
function columns(shares, sign) {
  const start = SECONDS - shares.length;
  let path = '';
  shares.forEach((share, index) => {
    if (!(share > 0)) return;
    const tall = (height(share) * (MIDDLE - 1) * sign).toFixed(1);
    path += `M${start + index + 0.12} ${MIDDLE + 0.6 * sign}v${tall}h.76v${-tall}z`;
  });
  return path;
}

/** The strip: an element, and a function that draws shares of lost and of rescued packets into it. */
export function strip() {
  const line = svg('path', { class: 'strip-line' });
  const rescues = svg('path', { class: 'strip-rescued' });
  const losses = svg('path', { class: 'strip-lost' });
  const element = svg('svg', { class: 'strip', viewBox: `0 0 ${SECONDS} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' }, line, rescues, losses);
  let before = '';
  const draw = (lost, rescued) => {
    const known = `${lost.join()};${rescued.join()}`;
    if (known === before) return;
    before = known;
    const start = SECONDS - lost.length;
    let base = '';
    lost.forEach((share, index) => {
      if (share !== null) base += `M${start + index} ${MIDDLE}h1`;
    });
    setAttribute(line, 'd', base);
    setAttribute(rescues, 'd', columns(rescued, -1));
    setAttribute(losses, 'd', columns(lost, 1));
    setAttribute(element, 'aria-label', describe(lost, rescued));
  };
  return { element, draw };
}

function describe(lost, rescued) {
  if (lost.every((share) => share === null)) return 'no packets were due';
  const bad = lost.filter((share) => share > 0);
  const good = rescued.filter((share) => share > 0).length;
  const more = good > 0 ? `, rescues in ${good}` : '';
  if (bad.length === 0) return `no loss within the last ${SECONDS} s${more}`;
  return `loss in ${bad.length} of the last ${lost.length} s, at most ${percent(Math.max(...bad))}${more}`;
}

const PARTS = [
  ['received', 'received'],
  ['other-leg', 'brought by another input alone'],
  ['fec', 'rebuilt from FEC'],
  ['retransmission', 'retransmitted'],
  ['network', 'lost on the network'],
  ['kernel', "lost in the kernel's buffer"],
  ['late', 'too late'],
];

/** How many packets each part has, in the order of the bar. */
function partsOf(recent) {
  const received = Math.max(0, recent.expected - rescuedOf(recent) - recent.lost);
  return [received, recent.otherLeg, recent.fec, recent.retransmission, recent.network, recent.kernel, recent.late];
}

/** The parts in words. */
export function inWords(recent) {
  const parts = partsOf(recent);
  return PARTS.map(([, word], index) => `${word} ${count(parts[index])}`).join(', ');
}

/** The bar: an element, and a function that draws what `recentOf` gives. */
export function bar() {
  const segments = PARTS.map(([name]) => h('i', { class: `segment ${name}` }));
  const stack = h('div', { class: 'stack', role: 'img' }, ...segments);
  const words = PARTS.map(([name, word]) => {
    const value = document.createTextNode('');
    return { value, element: h('span', {}, h('i', { class: `swatch ${name}` }), value, ` ${word}`) };
  });
  const element = h('div', { class: 'bar-cell' }, stack, h('p', { class: 'stack-words' }, ...words.map((word) => word.element)));
  const draw = (recent) => {
    const parts = partsOf(recent);
    parts.forEach((part, index) => {
      const grow = (recent.expected > 0 ? part / recent.expected : 0).toFixed(5);
      if (segments[index].style.flexGrow !== grow) segments[index].style.flexGrow = grow;
      const none = part <= 0;
      for (const element of [segments[index], words[index].element]) if (element.hidden !== none) element.hidden = none;
      if (words[index].value.data !== count(part)) words[index].value.data = count(part);
    });
    setAttribute(stack, 'aria-label', inWords(recent));
  };
  return { element, draw };
}

/** What was lost on some way and came nevertheless. */
export const rescuedOf = (recent) => recent.otherLeg + recent.fec + recent.retransmission;

/** What the bar needs, from a row of the channels' columns. */
export const recentOf = (channels, row) => ({
  expected: channels.recent_expected[row],
  otherLeg: channels.recent_other_leg[row],
  fec: channels.recent_recovered_fec[row],
  retransmission: channels.recent_recovered_retransmission[row],
  lost: channels.recent_lost[row],
  network: channels.recent_lost_network[row],
  kernel: channels.recent_lost_kernel[row],
  late: channels.recent_lost_late[row],
});
