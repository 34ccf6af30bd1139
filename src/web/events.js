// What happened, the newest first, with the time and what to do.

import { arrange, byId, h, setAttribute, setText } from './dom.js';
import { clock } from './format.js';
import { detailOf } from './channels.js';
import { icon } from './icons.js';

const FIRST = 20;

/** A list of events in `list`; `more` shows older ones, `none` is shown when there is none. */
export class Events {
  constructor(list, none, more) {
    Object.assign(this, { list, none, more, limit: FIRST, rows: new Map() });
    more.addEventListener('click', () => {
      this.limit += 5 * FIRST;
      this.draw(this.all, this.channel);
    });
  }

  /** Draws those of a channel, or of all. */
  draw(all, channel) {
    Object.assign(this, { all, channel });
    const wanted = [...all.values()].filter((event) => !channel || event.channel === channel);
    wanted.sort((a, b) => b.last - a.last || b.id - a.id);
    const shown = wanted.slice(0, this.limit);
    const rows = new Map(shown.map((event) => [event.id, this.rows.get(event.id) ?? makeRow(event, channel)]));
    for (const event of shown) drawRow(rows.get(event.id), event);
    this.rows = rows;
    arrange(this.list, [...rows.values()].map((row) => row.element));
    if (this.none.hidden !== shown.length > 0) this.none.hidden = shown.length > 0;
    const complete = wanted.length <= this.limit;
    if (this.more.hidden !== complete) this.more.hidden = complete;
  }
}

function makeRow(event, channel) {
  const row = { time: h('time'), text: h('span', { class: 'event-text' }), advice: h('p', { class: 'advice' }) };
  const name = channel ? [] : [h('a', { href: detailOf(event.channel) }, event.channel), ' '];
  const level = h('span', { class: 'hidden' }, `${event.level}: `);
  row.element = h('li', { class: 'event', 'data-level': event.level }, icon(event.level), row.time, h('p', { class: 'what' }, level, ...name, row.text), row.advice);
  return row;
}

function drawRow(row, event) {
  const from = clock(event.at);
  const to = clock(event.last);
  setText(row.time, from === to ? from : `${from} to ${to.slice(-8)}`);
  setAttribute(row.time, 'datetime', new Date(event.at).toISOString());
  setText(row.text, event.text);
  setText(row.advice, event.advice);
  if (row.advice.hidden !== (event.advice === '')) row.advice.hidden = event.advice === '';
}

/** The events of all channels. */
export const allEvents = () => new Events(byId('events'), byId('events-none'), byId('events-more'));
