// Plain tables of a channel's detail: inputs, outputs, subscribers, clients, counters.

import { arrange, h, setAttribute, setText } from './dom.js';
import { bytes, clock, count, time } from './format.js';
import { icon } from './icons.js';
import { clientOf } from './operator.js';

/** A table with a heading and a link to the same as CSV; its columns are [{ label, text(columns,
 * row) }]. A column with `of(columns, row)` has a button in each row, which calls `act` with that. */
export class SmallTable {
  constructor(title, csv, columns, empty, act) {
    this.columns = columns;
    this.act = act;
    this.body = h('tbody');
    this.rows = [];
    const head = h('tr', {}, ...columns.map(({ label, number }) => h('th', { scope: 'col', class: number ? 'number' : null }, label)));
    this.heading = h('h2', { tabindex: '-1' }, title);
    this.table = h('table', {}, h('caption', { class: 'hidden' }, title), h('thead', {}, head), this.body);
    this.none = h('p', { class: 'empty' }, empty);
    this.note = h('p', { class: 'note', hidden: true });
    this.element = h(
      'section',
      { class: 'small-table', 'aria-label': title },
      h('div', { class: 'section-head' }, this.heading, csv ? h('a', { class: 'button', href: csv, download: true }, 'CSV') : null),
      h('div', { class: 'scroll-x', tabindex: '0', role: 'group', 'aria-label': title }, this.table),
      this.none,
      this.note,
    );
  }

  /** A line below the table. */
  say(text) {
    setText(this.note, text);
    if (this.note.hidden !== (text === '')) this.note.hidden = text === '';
  }

  /** Draws columns, of which each row's cells are made; `wanted(columns, row)` chooses rows. */
  draw(columns, length, wanted = () => true) {
    const shown = [...Array(length).keys()].filter((row) => wanted(columns, row));
    while (this.rows.length < shown.length) this.rows.push(this.makeRow());
    shown.forEach((row, index) => {
      this.columns.forEach(({ label, text, of }, column) => {
        const cell = this.rows[index].cells[column];
        if (!of) return setText(cell, text(columns, row));
        const [button] = cell.children;
        button.about = of(columns, row);
        return setAttribute(button, 'aria-label', `${label} ${button.about.address}`);
      });
    });
    arrange(this.body, this.rows.slice(0, shown.length).map((row) => row.element));
    if (this.none.hidden !== shown.length > 0) this.none.hidden = shown.length > 0;
    if (this.table.hidden !== (shown.length === 0)) this.table.hidden = shown.length === 0;
  }

  makeRow() {
    const kind = ({ number, mono, of }) => (number ? 'number' : mono ? 'mono-cell' : of ? 'act' : null);
    const cells = this.columns.map((column) => {
      const cell = h('td', { 'data-label': column.label, class: kind(column) });
      if (column.of) cell.append(h('button', { type: 'button', class: 'only-icon plain', title: column.label, on: { click: ({ currentTarget }) => this.act(currentTarget.about) } }, icon('close')));
      return cell;
    });
    return { element: h('tr', {}, ...cells), cells };
  }
}

const number = (label, key, format = count) => ({ label, number: true, text: (columns, row) => format(columns[key][row]) });
const text = (label, key) => ({ label, text: (columns, row) => columns[key][row] ?? '' });
const address = (label) => ({ ...text(label, 'address'), mono: true });

export const LEG_COLUMNS = [
  address('Input'),
  { label: 'State', text: (c, row) => (c.detail[row] ? `${c.state[row]}: ${c.detail[row]}` : c.state[row]) },
  number('Media', 'media'),
  number('Repair', 'repair'),
  number('Bytes', 'bytes', bytes),
  number('First', 'first'),
  number('Missed', 'missed'),
  { label: 'Behind', number: true, text: (c, row) => (c.skew_seconds[row] === null ? '' : time(c.skew_seconds[row])) },
  number('Kernel drops', 'kernel_drops'),
  { label: 'Receive buffer', number: true, text: (c, row) => `${bytes(c.receive_buffer_granted[row])}${c.receive_buffer_granted[row] < c.receive_buffer_requested[row] ? ` of ${bytes(c.receive_buffer_requested[row])}` : ''}` },
];

export const OUTPUT_COLUMNS = [
  address('Output'),
  { label: 'State', text: (c, row) => c.fault[row] ?? 'sends' },
  number('Packets', 'packets'),
  number('Bytes', 'bytes', bytes),
  number('Not sent', 'dropped'),
];

export const SUBSCRIBER_COLUMNS = [
  text('Transport', 'transport'),
  number('At present', 'clients'),
  number('Ever', 'joined'),
  number('Packets', 'packets'),
  number('Bytes', 'bytes', bytes),
  { label: 'Missed', number: true, text: (c, row) => count(c.lagged[row] + c.closed[row]) },
  { label: 'Cut off', number: true, text: (c, row) => count(c.cut_off_lag[row] + c.cut_off_idle[row] + c.cut_off_operator[row]) },
];

export const CLIENT_COLUMNS = [
  address('Client'),
  { label: 'By', text: (c, row) => clientOf(c, row).by },
  { label: 'Since', number: true, text: (c, row) => clock(c.since[row]) },
  number('Packets', 'packets'),
  number('Bytes', 'bytes', bytes),
  number('Missed', 'missed'),
];

/** Where operators may act. */
export const CLIENT_ACTS = [...CLIENT_COLUMNS, { label: 'Disconnect', of: clientOf }];

/** Names and numbers, side by side as long as there is room. */
export class Pairs {
  constructor(title, button) {
    this.list = h('dl', { class: 'pairs' });
    this.values = new Map();
    this.title = h('h2', {}, title);
    this.element = h('section', { 'aria-label': title }, h('div', { class: 'section-head' }, this.title, button), this.list);
  }

  /** Sets the heading. */
  say(title) {
    setText(this.title, title);
    setAttribute(this.element, 'aria-label', title);
  }

  /** Draws { name: number }, of which nought is left out; what once was there stays. */
  draw(pairs) {
    for (const [name, value] of Object.entries(pairs)) {
      if (!this.values.has(name)) {
        if (value === 0) continue;
        const cell = h('dd');
        this.values.set(name, cell);
        this.list.append(h('div', {}, h('dt', {}, name), cell));
      }
      setText(this.values.get(name), count(value));
    }
  }
}
