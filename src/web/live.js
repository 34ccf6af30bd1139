// The connection: one stream of messages, once a second, for all that the page shows. It says what
// it shows in the stream's query; when that changes, or the page was hidden, a new stream goes on
// where the last one ended.

import { apply, applyValues, state } from './state.js';

const STALE_MS = 2500;
const MEASURES = 600;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

/** What the page shows at present, as the query has it. */
export const view = { search: '', sort: 'worst', health: '', limit: 100, channel: '', flow: '', flow_search: '', flow_sort: 'flow', flow_offset: 0, flow_limit: 40 };

let source = null;
let failures = 0;
let retry = 0;
let lastMessage = performance.now();
let fresh = true;
let listeners = { draw() {}, status() {} };

/** Connects. `draw(fresh)` is called after each message, `status(text, kind)` when the
 * connection's state changes. */
export function start(handlers) {
  listeners = handlers;
  const shown = () => (document.hidden ? pause() : reopen());
  document.addEventListener('visibilitychange', shown);
  window.addEventListener('pagehide', close);
  window.addEventListener('pageshow', (event) => event.persisted && reopen());
  setInterval(watch, 500);
  shown();
}

/** Changes what is shown. */
export function show(changes) {
  const before = JSON.stringify(view);
  Object.assign(view, changes);
  if (JSON.stringify(view) !== before && !document.hidden) reopen();
}

function close() {
  clearTimeout(retry);
  source?.close();
  source = null;
}

function pause() {
  close();
  listeners.status('paused', 'paused');
}

/** Opens the stream anew. */
export function reopen() {
  close();
  fresh = true;
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(view)) {
    const isFlow = name.startsWith('flow');
    if (value !== '' && !(isFlow && !view.channel)) query.set(name, value);
  }
  // A detail that was not open before needs its whole history.
  const knowsDetail = !view.channel || state.detail?.name === view.channel;
  if (state.since && knowsDetail) query.set('since', state.since);
  else if (state.since) query.set('since', state.since.replace(/-\d+-/, '-0-'));
  source = new EventSource(`api/v1/live?${query}`);
  source.addEventListener('message', message);
  source.addEventListener('values', (event) => {
    applyValues(JSON.parse(event.data));
    listeners.draw(false);
  });
  source.addEventListener('error', failed);
}

function message(event) {
  performance.mark('tick-start');
  failures = 0;
  lastMessage = performance.now();
  apply(JSON.parse(event.data), event.lastEventId);
  listeners.status('live', 'live');
  listeners.draw(fresh);
  fresh = false;
  // A browser keeps all measures for ever.
  if (state.tick % MEASURES === 0) performance.clearMeasures('tick');
  performance.measure('tick', 'tick-start');
  performance.clearMarks('tick-start');
}

function failed() {
  close();
  const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
  failures += 1;
  retry = setTimeout(reopen, wait * (0.75 + Math.random() / 2));
  watch();
}

/** How long ago the last message came, in seconds. */
export const age = () => Math.round((performance.now() - lastMessage) / 1000);

function watch() {
  if (document.hidden || performance.now() - lastMessage < STALE_MS) return;
  const what = state.tick ? `data is ${age()} s old` : 'no data yet';
  listeners.status(source && failures === 0 ? what : `${what}, connecting again`, 'stale');
}
