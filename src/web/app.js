// The page: what is shown follows from the address (#/ or #/channel/NAME), the live stream, and a
// few controls.

import { byId, debounced, setAttribute, setText } from './dom.js';
import { drawChannels, linkOf } from './channels.js';
import { drawView, listenToChoices, nextTheme } from './choices.js';
import { Detail } from './detail.js';
import { allEvents } from './events.js';
import { clock, time } from './format.js';
import { listen, step } from './keyboard.js';
import { age, show, start, view } from './live.js';
import { drawSummary, drawTitle } from './summary.js';
import { forgetDetail, state } from './state.js';
import { hold } from './thumbs.js';

const events = allEvents();
let detail = null;
let frozen = false;
let frozenAt = 0;
let connection = ['connecting', 'stale'];

function draw(fresh) {
  // What somebody has just asked for is shown even if the rest is held.
  if (!state.totals || (frozen && !fresh)) return;
  if (detail) {
    detail.draw(state);
  } else {
    drawView(state.totals.channels);
    drawChannels(state.channels, state.strips, view);
    events.draw(state.events, '');
    drawSummary(state.totals, state.at, state.run);
  }
  drawTitle(state.totals);
  document.body.removeAttribute('data-waiting');
  byId('logout').hidden = !state.user;
  setAttribute(byId('logout-button'), 'title', `Log out (${state.user})`);
  setText(byId('uptime'), `up ${time((state.at - state.run) / 1000)}`);
}

function drawConnection() {
  const [text, kind] = connection;
  setText(byId('live-text'), frozen ? `frozen at ${clock(frozenAt)}` : text);
  setAttribute(byId('live'), 'data-kind', frozen ? 'frozen' : kind);
  const stale = kind === 'stale' && state.tick > 0;
  setAttribute(document.body, 'data-stale', stale ? '' : null);
  setAttribute(document.body, 'data-still', stale || frozen || kind === 'paused' ? '' : null);
  drawBanner(stale);
}

/** Why nothing moves, and for how long; a reader of the page hears the first part alone. */
function drawBanner(stale) {
  const at = stale ? Date.now() - age() * 1000 : frozenAt;
  byId('banner').hidden = !stale && !frozen;
  byId('thaw').hidden = !frozen;
  setAttribute(byId('banner'), 'data-kind', stale ? 'stale' : 'frozen');
  setText(byId('banner-text'), stale ? `The relay does not answer. What stands here is of ${clock(at)}.` : frozen ? `Frozen at ${clock(at)}; the relay goes on.` : '');
  setText(byId('banner-age'), stale || frozen ? `${time(Math.max(0, Math.round((Date.now() - at) / 1000)))} ago` : '');
}

function freeze() {
  frozen = !frozen;
  frozenAt = Date.now();
  hold(frozen);
  setAttribute(byId('freeze'), 'aria-pressed', frozen);
  setText(byId('freeze-word'), frozen ? 'Go on' : 'Freeze');
  // The button to go on vanishes.
  if (document.activeElement === byId('thaw')) byId('freeze').focus();
  drawConnection();
  draw(false);
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
  const before = detail?.name ?? '';
  if (name === before) return;
  detail?.end();
  forgetDetail();
  detail = name ? new Detail(name, query === 'play') : null;
  byId('overview').hidden = Boolean(detail);
  byId('detail').hidden = !detail;
  show({ channel: name, flow: '', flow_search: '', flow_sort: 'flow', flow_offset: 0 });
  draw(true);
  if (detail) {
    detail.heading.focus();
    scrollTo(0, 0);
  } else {
    // Back to the row that was left.
    const link = linkOf(before);
    if (link?.isConnected) link.focus();
    else scrollTo(0, 0);
  }
}

const channelRows = () => [...byId('channels').children];
const move = (by) => () => (detail ? detail.flows.move(by) : step(channelRows(), by));
const withFilm = (act) => () => (detail?.film?.playing ? act(detail.film) : false);

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

function help() {
  byId('help').showModal();
  byId('help').scrollTop = 0;
}

const search = byId('search');
search.addEventListener('input', debounced(120, () => show({ search: search.value.trim() })));
byId('sort').addEventListener('change', (event) => show({ sort: event.target.value }));
byId('channels-more').addEventListener('click', () => search.focus());
byId('freeze').addEventListener('click', freeze);
byId('thaw').addEventListener('click', freeze);
setInterval(() => frozen && drawConnection(), 1000);
byId('help-open').addEventListener('click', help);
window.addEventListener('hashchange', route);
listenToChoices(() => state.totals && drawView(state.totals.channels));

listen({
  '/': () => (detail ? detail.flows.search : search).focus(),
  j: move(1),
  k: move(-1),
  Enter: open,
  p: play,
  m: withFilm((film) => film.toggleSound()),
  i: withFilm((film) => film.toggleFloating()),
  F: withFilm((film) => film.toggleFull()),
  f: freeze,
  r: () => (detail ? detail.reset() : false),
  t: nextTheme,
  '?': help,
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
