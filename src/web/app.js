// The page: what is shown follows from the address (#/ or #/channel/NAME), the live stream, and a few controls.

import { byId, debounced, setAttribute, setText } from './dom.js';
import { drawChannels } from './channels.js';
import { Detail } from './detail.js';
import { allEvents } from './events.js';
import { listen, step } from './keyboard.js';
import { show, start, view } from './live.js';
import { drawSummary } from './summary.js';
import { forgetDetail, state } from './state.js';

const events = allEvents();
let detail = null;
let frozen = false;
let frozenAt = '';
let connection = ['connecting', 'stale'];

function draw(fresh) {
  // What somebody has just asked for is shown even if the rest is held.
  if (!state.totals || (frozen && !fresh)) return;
  if (detail) {
    detail.draw(state);
  } else {
    drawChannels(state.channels, state.strips, view);
    events.draw(state.events, '');
  }
  drawSummary(state.totals);
}

function drawConnection() {
  const [text, kind] = connection;
  setText(byId('live-text'), frozen ? `frozen at ${frozenAt}` : text);
  setAttribute(byId('live'), 'data-kind', frozen ? 'frozen' : kind);
}

function freeze() {
  frozen = !frozen;
  frozenAt = new Date().toTimeString().slice(0, 8);
  setAttribute(byId('freeze'), 'aria-pressed', frozen);
  setText(byId('freeze'), frozen ? 'Go on' : 'Freeze');
  drawConnection();
  draw(false);
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  try {
    localStorage.setItem('tidecast-theme', root.dataset.theme);
  } catch {
    // Storage may be forbidden: then it lasts as long as the page.
  }
  document.dispatchEvent(new Event('themechange'));
}

/** The text in a part of the address; '' if it is none. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}

function route() {
  const [path, query] = location.hash.slice(1).split('?');
  const name = path.startsWith('/channel/') ? decoded(path.slice('/channel/'.length)) : '';
  if (name === (detail?.name ?? '')) return;
  detail?.end();
  forgetDetail();
  detail = name ? new Detail(name, query === 'play') : null;
  byId('overview').hidden = Boolean(detail);
  byId('detail').hidden = !detail;
  if (detail) detail.heading.focus();
  scrollTo(0, 0);
  show({ channel: name, flow: '', flow_search: '', flow_sort: 'flow', flow_offset: 0 });
  draw(true);
}

const channelRows = () => [...byId('channels').children];
const move = (by) => () => (detail ? detail.flows.move(by) : step(channelRows(), by));

function open() {
  if (!detail || !document.activeElement.closest('.flow-row')) return false;
  detail.flows.open();
  return true;
}

function leave() {
  if (detail?.oneFlow.flow) detail.openFlow('');
  else if (detail) location.hash = '#/';
  else return false;
  return true;
}

function play() {
  if (detail) {
    if (!detail.play.hidden) detail.togglePlay();
    return;
  }
  const row = document.activeElement.closest('.channel');
  const link = row?.querySelector('.play');
  if (link && !link.hidden) link.click();
}

const search = byId('search');
search.addEventListener('input', debounced(120, () => show({ search: search.value.trim() })));
byId('sort').addEventListener('change', (event) => show({ sort: event.target.value }));
byId('channels-more').addEventListener('click', () => search.focus());
byId('freeze').addEventListener('click', freeze);
byId('theme').addEventListener('click', theme);
byId('help-open').addEventListener('click', () => byId('help').showModal());
window.addEventListener('hashchange', route);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => document.dispatchEvent(new Event('themechange')));

listen({
  '/': () => (detail ? detail.flows.search : search).focus(),
  j: move(1),
  k: move(-1),
  Enter: open,
  p: play,
  f: freeze,
  t: theme,
  '?': () => byId('help').showModal(),
  Escape: leave,
});
route();
start({
  draw,
  status(text, kind) {
    connection = [text, kind];
    drawConnection();
  },
});
