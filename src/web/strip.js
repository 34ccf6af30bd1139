// The two small pictures of a channel's row: the loss of each of the last 60 s, on a fixed logarithmic scale, so that rows
// compare, and so do yesterday and today; and what became of the packets of those 60 s, in proportion, with a few pixels at
// least for whatever there was.

import { h, setAttribute, setText, svg } from './dom.js';
import { count, percent } from './format.js';

const SECONDS = 60;
const HEIGHT = 26;
const DECADES = 4; // 0.01 % to 100 %

/** Where a share of 0 to 1 stands on the scale: 0 to 1. */
const height = (share) => (share > 0 ? Math.min(1, Math.max(0.06, (Math.log10(share) + DECADES) / DECADES)) : 0);

/** The strip: an element, and a function that draws shares into it. */
export function strip() {
  const line = svg('path', { class: 'strip-line' });
  const bars = svg('path', { class: 'strip-bars' });
  const element = svg('svg', { class: 'strip', viewBox: `0 0 ${SECONDS} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' }, line, bars);
  let before = '';
  const draw = (shares) => {
    const known = shares.join();
    if (known === before) return;
    before = known;
    const start = SECONDS - shares.length;
    let base = '';
    let path = '';
    shares.forEach((share, index) => {
      const x = start + index;
      if (share !== null) base += `M${x} ${HEIGHT - 0.5}h1`;
      if (share > 0) {
        const tall = (height(share) * (HEIGHT - 1)).toFixed(1);
        path += `M${x + 0.1} ${HEIGHT}v-${tall}h.8v${tall}z`;
      }
    });
    setAttribute(line, 'd', base);
    setAttribute(bars, 'd', path);
    setAttribute(element, 'aria-label', describe(shares));
  };
  return { element, draw };
}

function describe(shares) {
  const bad = shares.filter((share) => share > 0);
  if (shares.every((share) => share === null)) return 'no packets were due';
  if (bad.length === 0) return 'no loss within the last 60 s';
  return `loss in ${bad.length} of the last ${shares.length} s, at most ${percent(Math.max(...bad))}`;
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

/** The bar: an element, and a function that draws { expected, otherLeg, fec, retransmission, lost, network, kernel, late }. */
export function bar() {
  const segments = PARTS.map(([name]) => h('i', { class: `segment ${name}` }));
  const stack = h('div', { class: 'stack', role: 'img' }, ...segments);
  const words = h('p', { class: 'stack-words' });
  const element = h('div', { class: 'bar-cell' }, stack, words);
  const draw = (recent) => {
    const apart = recent.otherLeg + recent.fec + recent.retransmission + recent.lost;
    const received = Math.max(0, recent.expected - apart);
    const parts = [received, recent.otherLeg, recent.fec, recent.retransmission, recent.network, recent.kernel, recent.late];
    segments.forEach((segment, index) => {
      const grow = (recent.expected > 0 ? parts[index] / recent.expected : 0).toFixed(5);
      if (segment.style.flexGrow !== grow) segment.style.flexGrow = grow;
      if (segment.hidden !== parts[index] <= 0) segment.hidden = parts[index] <= 0;
    });
    setText(words, inWords(recent));
    const all = PARTS.map(([, word], index) => `${word} ${count(parts[index])}`).join(', ');
    setAttribute(stack, 'aria-label', all);
    setAttribute(stack, 'title', all);
  };
  return { element, draw };
}

function inWords(recent) {
  if (recent.expected === 0) return 'none due';
  const recovered = recent.fec + recent.retransmission;
  const causes = [
    ['network', recent.network],
    ['kernel', recent.kernel],
    ['late', recent.late],
  ].filter(([, value]) => value > 0);
  const why = causes.length > 0 ? ` (${causes.map(([name, value]) => (causes.length > 1 ? `${name} ${count(value)}` : name)).join(', ')})` : '';
  const other = recent.otherLeg > 0 ? `${count(recent.otherLeg)} by one input only · ` : '';
  const back = recovered > 0 ? `${count(recovered)} recovered · ` : '';
  return `${other}${back}${count(recent.lost)} lost${why}`;
}

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
