// The first thing on the page: is anything being lost?

import { byId, h, setAttribute, setText } from './dom.js';
import { bits, count, packets, percent, plural } from './format.js';

const HEALTHS = ['ok', 'degraded', 'silent'];
const badges = new Map();
const facts = new Map();

function answer(totals) {
  const share = totals.recent_expected > 0 ? totals.recent_lost / totals.recent_expected : 0;
  if (totals.channels === 0) return ['Nothing is relayed.', 'No channel is configured, and nobody asks for one.', 'ok'];
  if (totals.losing > 0) {
    const more = `${count(totals.recent_lost)} of ${count(totals.recent_expected)} packets (${percent(share)}) within the last minute, in ${totals.losing} of ${plural(totals.channels, 'channel')}.`;
    return [totals.lost_per_second > 0 ? 'Yes, packets are being lost.' : 'Not this second, but within the last minute.', more, 'degraded'];
  }
  if (totals.silent > 0) {
    const which = totals.silent === totals.channels ? 'No channel receives anything' : `${plural(totals.silent, 'channel')} receive${totals.silent === 1 ? 's' : ''} nothing`;
    return [`${which}.`, 'Nothing is lost where packets come.', 'silent'];
  }
  const saved = totals.recent_recovered > 0 ? ` ${plural(totals.recent_recovered, 'packet')} had to be recovered.` : '';
  if (totals.degraded > 0) return ['No packet is being lost on the way here.', `A part of ${plural(totals.degraded, 'channel')} does not work.${saved}`, 'degraded'];
  return ['No, nothing is being lost.', `All ${count(totals.recent_expected)} packets of the last minute went out.${saved}`, 'ok'];
}

function badge(health) {
  const value = h('strong');
  const element = h('li', {}, h('span', { class: 'state', 'data-health': health }), value);
  byId('counts').append(element);
  return { element, value };
}

function fact(name) {
  const value = h('dd');
  byId('facts').append(h('div', {}, h('dt', {}, name), value));
  return value;
}

/** Draws the answer. */
export function drawSummary(totals) {
  const [title, more, health] = answer(totals);
  setAttribute(byId('summary'), 'data-health', health);
  setText(byId('answer'), title);
  setText(byId('answer-more'), more);
  document.title = health === 'ok' ? 'tidecast' : `${totals.degraded + totals.silent} of ${totals.channels} not ok - tidecast`;
  for (const name of HEALTHS) {
    if (!badges.has(name)) badges.set(name, badge(name));
    setText(badges.get(name).value, count(totals[name]));
    setAttribute(badges.get(name).element, 'data-none', totals[name] === 0 ? '' : null);
  }
  const values = {
    'loss now': percent(totals.expected_per_second > 0 ? totals.lost_per_second / totals.expected_per_second : 0),
    received: packets(totals.packets_per_second),
    'bit rate': bits(totals.bits_per_second),
    flows: count(totals.flows),
    subscribers: count(totals.subscribers),
  };
  for (const [name, text] of Object.entries(values)) {
    if (!facts.has(name)) facts.set(name, fact(name));
    setText(facts.get(name), text);
  }
}
