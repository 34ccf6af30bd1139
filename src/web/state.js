// What the page knows: what each message of the live stream says, and what it adds to what was
// known before. Nothing here touches the document.

const STRIP = 60;
/** The relay keeps ten minutes; a page that stays open has more. */
const HISTORY_MS = 3_600_000;
const EVENTS = 1000;
const LINE = 120;
const VALUES = 1000;

/** All that is known. */
export const state = {
  /** The id of the last message: what the server need not send again. */
  since: '',
  run: 0,
  tick: 0,
  /** Name of the token with which this page was opened. */
  user: null,
  totals: null,
  /** The rows shown, as columns. */
  channels: null,
  /** When the last message was made, in milliseconds since the Unix epoch. */
  at: 0,
  /** Of the last 60 s, by channel: { lost: [shares], rescued: [shares] }. */
  strips: new Map(),
  /** By id; the newest ones are at the end. */
  events: new Map(),
  /** The channel whose detail is open: the last message's, with the whole history. */
  detail: null,
  /** By flow: { number, at, value, line: [numbers] }. */
  values: new Map(),
};

/** Takes in a message. */
export function apply(message, since) {
  if (message.run !== state.run) forget(message.run);
  const ticks = message.tick - state.tick;
  state.tick = message.tick;
  state.at = message.at;
  state.since = since;
  state.user = message.user ?? null;
  state.totals = message.totals;
  state.channels = message.channels;
  applyStrips(message.channels, ticks);
  applyEvents(message.events);
  if (message.detail) applyDetail(message.detail);
}

/** Another channel's detail is opened, or none. */
export function forgetDetail() {
  state.detail = null;
  state.values.clear();
}

function forget(run) {
  state.run = run;
  state.tick = 0;
  state.strips.clear();
  state.events.clear();
  forgetDetail();
}

function applyStrips(channels, ticks) {
  const strips = new Map();
  const goOn = (known, news) => (news.length >= STRIP || news.length > ticks ? news : (known ?? []).concat(news)).slice(-STRIP);
  channels.name.forEach((name, row) => {
    const known = state.strips.get(name);
    strips.set(name, { lost: goOn(known?.lost, channels.strip[row]), rescued: goOn(known?.rescued, channels.rescued[row]) });
  });
  state.strips = strips;
}

function applyEvents(events) {
  for (const event of events) {
    state.events.delete(event.id);
    state.events.set(event.id, event);
  }
  for (const id of state.events.keys()) {
    if (state.events.size <= EVENTS) break;
    state.events.delete(id);
  }
}

function applyDetail(detail) {
  const before = state.detail?.name === detail.name ? state.detail : null;
  state.detail = detail;
  if (detail.missing) return;
  if (before?.history) detail.history = joined(before.history, detail.history);
  if (detail.values) applyValues(detail.values);
}

function joined(before, after) {
  const end = after.times.at(-1) ?? before.times.at(-1) ?? 0;
  const last = before.times.at(-1) ?? 0;
  const skip = after.times.findIndex((at) => at > last);
  const first = before.times.findIndex((at) => at > end - HISTORY_MS);
  const kept = first < 0 ? before.times.length : first;
  const join = (old, news) => old.slice(kept).concat(skip < 0 ? [] : news.slice(skip));
  const columns = {};
  for (const name of Object.keys(after.columns)) columns[name] = join(before.columns[name], after.columns[name]);
  return { times: join(before.times, after.times), columns };
}

/** Takes in the readings of flows: { flow: [number, at, value] }. */
export function applyValues(values) {
  for (const [flow, [number, at, value]] of Object.entries(values)) {
    const known = state.values.get(flow) ?? { line: [] };
    if (known.at !== at || known.number !== number) known.line = known.line.concat(numeric(value)).slice(-LINE);
    // Those that were heard last are at the end.
    state.values.delete(flow);
    state.values.set(flow, { number, at, value, line: known.line });
  }
  for (const flow of state.values.keys()) {
    if (state.values.size <= VALUES) break;
    state.values.delete(flow);
  }
}

/** The number that a reading is about: itself, its "value", or its first number. */
export function numeric(value) {
  if (typeof value === 'number') return value;
  if (typeof value === 'string') return value.trim() === '' || Number.isNaN(Number(value)) ? null : Number(value);
  if (value === null || typeof value !== 'object') return null;
  if (typeof value.value === 'number') return value.value;
  return Object.values(value).find((part) => typeof part === 'number') ?? null;
}
