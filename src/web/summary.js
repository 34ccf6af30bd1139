// The verdict: the good news first, then what is still wrong; the states, which choose rows; and
// the sums.

import { byId, h, setAttribute, setText } from './dom.js';
import { bits, count, packets, percent, plural, spelled } from './format.js';
import { icon } from './icons.js';
import { show, view } from './live.js';
import { drawPicture } from './picture.js';

const HEALTHS = ['ok', 'degraded', 'silent'];
const chips = new Map();
const facts = new Map();

/** Whatever came back, on whichever way. */
const rescued = (totals) => totals.recent_other_leg + totals.recent_recovered_fec + totals.recent_recovered_retransmission;

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const are = (value) => (value === 1 ? 'is' : 'are');

/** [tone, what is coloured, the rest] */
function headline(totals) {
  const saved = rescued(totals);
  const lost = totals.recent_lost;
  if (totals.channels === 0) return ['ok', 'Ready.', ' Nothing is relayed yet.'];
  if (totals.silent === totals.channels) return ['silent', 'Silence.', ' Nothing comes in.'];
  if (saved > 0 && lost > 0) return ['ok', count(saved), ` of ${count(saved + lost)} lost packets rescued`];
  if (saved > 0) return ['ok', saved === 1 ? 'The one lost packet' : `All ${count(saved)} lost packets`, ' rescued'];
  if (lost > 0) return ['silent', count(lost), ` packet${lost === 1 ? '' : 's'} lost in the last minute`];
  return ['ok', 'Nothing lost', ' in the last minute'];
}

/** What stands below it. */
function sentences(totals) {
  if (totals.channels === 0) return ['No channel is configured, and nobody asks for one.'];
  const all = [];
  const share = totals.recent_expected > 0 ? totals.recent_lost / totals.recent_expected : 0;
  if (totals.recent_lost > 0) {
    all.push(`${percent(share)} of the last minute's ${plural(totals.recent_expected, 'packet')} did not arrive in time.`);
    const who = totals.channels === 1 ? 'The channel' : `${capital(spelled(totals.losing))} of ${spelled(totals.channels)} channels`;
    const is = totals.channels === 1 ? 'is' : are(totals.losing);
    all.push(totals.lost_per_second > 0 ? `${who} ${is} losing.` : `${who} lost some; none this second.`);
  } else if (totals.recent_expected > 0) {
    all.push(`All ${count(totals.recent_expected)} packets went out.`);
  }
  const others = totals.degraded - totals.losing;
  if (others > 0) all.push(`A part of ${plural(others, 'channel')} does not work.`);
  if (totals.silent === totals.channels) return ['Each channel says below why that may be.'];
  if (totals.silent > 0) all.push(`${capital(spelled(totals.silent))} ${are(totals.silent)} silent.`);
  return all;
}

function chip(health) {
  const value = document.createTextNode('');
  const button = h('button', { type: 'button', class: 'chip', 'data-health': health, title: `Show only channels that are ${health}` }, icon(health), h('span', {}, value, ` ${health}`));
  button.addEventListener('click', () => show({ health: view.health === health ? '' : health }));
  byId('counts').append(h('li', {}, button));
  return { button, value };
}

function fact(name) {
  const value = h('dd');
  byId('facts').append(h('div', {}, h('dt', {}, name), value));
  return value;
}

function drawHeadline(totals) {
  const [tone, strong, rest] = headline(totals);
  const answer = byId('answer');
  const [em] = answer.children;
  setAttribute(em, 'data-tone', tone);
  setText(em, strong);
  if (em.nextSibling.data !== rest) em.nextSibling.data = rest;
  setText(byId('answer-more'), sentences(totals).join(' '));
}

function drawChips(totals) {
  for (const name of HEALTHS) {
    if (!chips.has(name)) chips.set(name, chip(name));
    const { button, value } = chips.get(name);
    if (value.data !== count(totals[name])) value.data = count(totals[name]);
    setAttribute(button, 'data-none', totals[name] === 0 ? '' : null);
    setAttribute(button, 'aria-pressed', view.health === name);
  }
}

/** Says in the page's title how the channels are. */
export function drawTitle(totals) {
  const bad = totals.degraded + totals.silent;
  const title = bad === 0 ? 'tidecast' : `${bad} of ${totals.channels} not ok - tidecast`;
  if (document.title !== title) document.title = title;
}

/** Draws the verdict. */
export function drawSummary(totals, at, run) {
  setAttribute(byId('summary'), 'data-empty', totals.channels === 0 ? '' : null);
  drawHeadline(totals);
  drawChips(totals);
  drawPicture(totals, at, run);
  const values = {
    'loss now': percent(totals.expected_per_second > 0 ? totals.lost_per_second / totals.expected_per_second : 0),
    received: packets(totals.packets_per_second),
    'bit rate': bits(totals.bits_per_second),
    flows: count(totals.flows),
    subscribers: count(totals.subscribers),
    channels: count(totals.channels),
  };
  for (const [name, text] of Object.entries(values)) {
    if (!facts.has(name)) facts.set(name, fact(name));
    setText(facts.get(name), text);
  }
}
