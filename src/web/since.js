// Counters from some moment on, as this page alone shows them: what a channel had counted then is
// subtracted. The relay counts on, and nobody else sees another number.

import { state } from './state.js';

/** Of each table, the key of a row and what it counts. */
const COUNTED = {
  legs: ['address', 'media repair bytes first missed kernel_drops'],
  outputs: ['address', 'packets bytes dropped'],
  subscribers: ['transport', 'joined packets bytes lagged closed cut_off_lag cut_off_idle cut_off_operator'],
  clients: ['id', 'packets bytes missed'],
  flows: ['flow', 'received delivered lost recovered reordered duplicate late'],
};
const FLOWS = 'limit=10000';
/** By channel: { run, at, counters, rejects, and by table a map from key to row }. */
const marks = new Map();

const markOf = (name) => {
  const mark = marks.get(name);
  return mark?.run === state.run ? mark : undefined;
};

/** When the channel's counters were reset, in milliseconds since the Unix epoch; 0 if they were
 * not. */
export const since = (name) => markOf(name)?.at ?? 0;

const rowsOf = (columns, [key, names]) => new Map((columns?.[key] ?? []).map((id, row) => [id, names.split(' ').map((name) => columns[name][row])]));

/** From now on the channel's counters show what comes; or, if they do so already, all again. */
export async function reset(detail) {
  const { name } = detail;
  if (since(name)) return marks.delete(name);
  const mark = { run: state.run, at: state.at, counters: detail.counters, rejects: detail.rejects };
  for (const table of ['legs', 'outputs', 'subscribers', 'clients']) mark[table] = rowsOf(detail[table], COUNTED[table]);
  // The page itself has only the flows that are seen.
  const answer = await fetch(`api/v1/streams/${encodeURIComponent(name)}/flows?${FLOWS}`);
  const [key, names] = COUNTED.flows;
  const { flows } = answer.ok ? await answer.json() : { flows: [] };
  mark.flows = new Map(flows.map((flow) => [flow[key], names.split(' ').map((name) => flow[name])]));
  return marks.set(name, mark);
}

/** A counter that is below what it was began again. */
const less = (value, base = 0) => (value < base ? value : value - base);

function lessRows(columns, known, [key, names]) {
  if (!columns) return columns;
  const rest = { ...columns };
  names.split(' ').forEach((name, index) => {
    rest[name] = columns[name].map((value, row) => less(value, known.get(columns[key][row])?.[index]));
  });
  return rest;
}

const lessAll = (values, known) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, less(value, known[name])]));

/** A detail, with its counters as they are to be shown. */
export function counted(detail) {
  const mark = markOf(detail.name);
  if (!mark) return detail;
  const shown = { ...detail, counters: lessAll(detail.counters, mark.counters), rejects: lessAll(detail.rejects, mark.rejects) };
  for (const [table, kind] of Object.entries(COUNTED)) shown[table] = lessRows(detail[table], mark[table], kind);
  shown.flow = lessRows(detail.flow, mark.flows, COUNTED.flows);
  return shown;
}
