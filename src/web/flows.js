// The flows of a channel: thousands of them, so the server sorts and searches, and only the rows
// that can be seen are asked for. Rows are recycled: flow i is always drawn by element i modulo
// their number.

import { debounced, h, setAttribute, setText, svg } from './dom.js';
import { count, exact, packets, time } from './format.js';
import { show, view } from './live.js';
import { numeric } from './state.js';

const ROW = 34;
const HEAD = 37; // with the borders
const POOL = 60;
const STEP = 10;
const LINE_WIDTH = 60;

/** A flow's columns: [key, heading, text of a row]. */
export const COLUMNS = [
  ['flow', 'Flow', (c, i) => c.flow[i]],
  ['reading', 'Reading', null],
  ['rate', 'Rate', (c, i) => (c.ended[i] ? 'ended' : c.packets_per_second[i] === null ? '' : packets(c.packets_per_second[i]))],
  ['received', 'Received', (c, i) => count(c.received[i])],
  ['lost', 'Lost', (c, i) => count(c.lost[i])],
  ['recovered', 'Rescued', (c, i) => count(c.recovered[i])],
  ['jitter', 'Jitter', (c, i) => time(c.jitter_seconds[i])],
  ['idle', 'Last packet', (c, i) => `${time(c.idle_seconds[i])} ago`],
  ['source', 'Source', (c, i) => c.source[i]],
];

/** A reading in words: the number with its name and unit where it says them, else what came. */
export function reading(value) {
  if (value === null || typeof value !== 'object') return String(value);
  const number = numeric(value);
  const name = ['sensor', 'name', 'id'].map((key) => value[key]).find((part) => typeof part === 'string');
  if (number === null || !('value' in value)) return JSON.stringify(value);
  return [name, exact(number), typeof value.unit === 'string' ? value.unit : null].filter((part) => part !== undefined && part !== null).join(' ');
}

/** A line of the last numbers, as a path. */
function sparkline(numbers) {
  const known = numbers.filter((number) => number !== null).slice(-LINE_WIDTH);
  if (known.length < 2) return '';
  const min = Math.min(...known);
  const span = Math.max(...known) - min || 1;
  const step = LINE_WIDTH / (known.length - 1);
  const point = (number, index) => `${(index * step).toFixed(1)} ${(18 - ((number - min) / span) * 16).toFixed(1)}`;
  return `M${known.map(point).join('L')}`;
}

/** The list, its search and its sort keys. */
export class Flows {
  constructor(name, onOpen) {
    this.name = name;
    this.onOpen = onOpen;
    this.total = 0;
    /** Where the list is scrolled to. Asking for it after changes would cost a layout. */
    this.top = 0;
    this.selected = -1;
    this.focusDue = false;
    this.pool = [];
    this.search = h('input', { id: 'flow-search', type: 'search', placeholder: 'id or source', autocomplete: 'off', spellcheck: 'false', 'aria-keyshortcuts': '/' });
    this.search.addEventListener('input', debounced(120, () => this.searched()));
    this.found = h('span', { class: 'quiet', role: 'status' });
    this.body = h('div', { class: 'flow-body', role: 'rowgroup' });
    this.scroller = h('div', { class: 'flow-scroll', tabindex: '0', role: 'table', 'aria-label': 'Flows' }, this.head(), this.body);
    this.scroller.addEventListener('scroll', () => this.scrolled());
    this.body.addEventListener('click', (event) => this.clicked(event));
    this.none = h('p', { class: 'empty', hidden: true });
    const csv = `api/v1/streams/${encodeURIComponent(name)}/flows?format=csv&limit=10000`;
    this.element = h(
      'section',
      { class: 'flows', 'aria-label': 'Flows' },
      h('div', { class: 'section-head' }, h('h2', {}, 'Flows'), this.found, h('label', { class: 'field grow' }, h('span', { class: 'quiet' }, 'Search'), this.search), h('a', { class: 'button', href: csv, download: true }, 'CSV')),
      this.scroller,
      this.none,
    );
    this.asks = debounced(60, () => this.ask());
  }

  head() {
    this.sorts = new Map();
    const cells = COLUMNS.map(([key, label]) => {
      if (key === 'reading') return h('div', { role: 'columnheader', class: 'flow-cell reading' }, label);
      const button = h('button', { type: 'button', on: { click: () => this.sort(key) } }, label);
      const cell = h('div', { role: 'columnheader', class: `flow-cell ${key}` }, button);
      this.sorts.set(key, cell);
      return cell;
    });
    this.mark('flow');
    return h('div', { role: 'rowgroup', class: 'flow-head' }, h('div', { role: 'row', class: 'flow-row' }, ...cells));
  }

  mark(sort) {
    const reverse = sort.startsWith('-');
    for (const [key, cell] of this.sorts) {
      const sorted = key === sort.replace('-', '');
      // Names rise, numbers fall, as the server sorts them.
      const rises = ['flow', 'source'].includes(key) !== reverse;
      setAttribute(cell, 'aria-sort', sorted ? (rises ? 'ascending' : 'descending') : null);
    }
  }

  sort(key) {
    const sort = view.flow_sort === key ? `-${key}` : key;
    this.mark(sort);
    this.selected = -1;
    this.scrollTo(0);
    show({ flow_sort: sort, flow_offset: 0 });
  }

  searched() {
    this.selected = -1;
    this.scrollTo(0);
    show({ flow_search: this.search.value.trim(), flow_offset: 0 });
  }

  scrollTo(top) {
    this.scroller.scrollTop = top;
    this.top = this.scroller.scrollTop;
  }

  scrolled() {
    this.top = this.scroller.scrollTop;
    this.place();
    this.asks();
  }

  /** The first row that is wanted, so that scrolling a little asks for nothing new. */
  first() {
    const seen = Math.floor(this.top / ROW);
    return Math.max(0, Math.floor(seen / STEP) * STEP - STEP);
  }

  ask() {
    const rows = Math.ceil(this.scroller.clientHeight / ROW) + 3 * STEP;
    show({ flow_offset: this.first(), flow_limit: Math.min(POOL, rows) });
  }

  draw(columns, values) {
    this.columns = columns;
    this.values = values;
    this.total = columns.total;
    const height = `${this.total * ROW}px`;
    if (this.body.style.height !== height) {
      this.body.style.height = height;
      this.scroller.style.height = `${this.total * ROW + HEAD}px`;
    }
    setAttribute(this.scroller, 'aria-rowcount', this.total + 1);
    setText(this.found, this.search.value ? `${count(this.total)} found` : count(this.total));
    const hasValues = values.size > 0;
    if (this.scroller.classList.contains('readings') !== hasValues) this.scroller.classList.toggle('readings', hasValues);
    if (this.none.hidden !== this.total > 0) this.none.hidden = this.total > 0;
    if (this.scroller.hidden !== (this.total === 0)) this.scroller.hidden = this.total === 0;
    setText(this.none, this.search.value ? `No flow has “${this.search.value}” in its id or source.` : 'No flow yet: nothing numbered came.');
    this.place();
  }

  /** Puts the rows where the scroller is, with what is known of them. */
  place() {
    const offset = this.columns?.offset ?? 0;
    const length = this.columns?.flow.length ?? 0;
    const shown = new Set();
    const first = this.first();
    for (let i = first; i < Math.min(first + POOL, this.total); i += 1) {
      const known = i - offset;
      if (known < 0 || known >= length) continue;
      const row = this.row(i);
      shown.add(i % POOL);
      this.drawRow(row, i, known);
    }
    this.pool.forEach((row, slot) => {
      if (row && row.element.hidden === shown.has(slot)) row.element.hidden = !shown.has(slot);
    });
    // A row that was selected before it was known gets the focus when it is there.
    if (this.focusDue && shown.has(this.selected % POOL) && this.pool[this.selected % POOL].index === this.selected) {
      this.focusDue = false;
      this.pool[this.selected % POOL].element.focus({ preventScroll: true });
    }
  }

  row(i) {
    const slot = i % POOL;
    if (!this.pool[slot]) {
      const line = svg('path', { class: 'line' });
      const words = h('span', { class: 'words' });
      const cells = COLUMNS.map(([key]) =>
        key === 'reading'
          ? h('div', { role: 'cell', class: 'flow-cell reading' }, svg('svg', { class: 'spark', viewBox: `0 0 ${LINE_WIDTH} 20`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, line), words)
          : h('div', { role: 'cell', class: `flow-cell ${key}` }),
      );
      const element = h('div', { role: 'row', class: 'flow-row', tabindex: '-1' }, ...cells);
      this.pool[slot] = { element, cells, line, words, index: -1 };
      this.body.append(element);
    }
    return this.pool[slot];
  }

  drawRow(row, i, known) {
    if (row.index !== i) {
      row.index = i;
      row.element.style.transform = `translateY(${i * ROW}px)`;
      setAttribute(row.element, 'aria-rowindex', i + 2);
    }
    const columns = this.columns;
    COLUMNS.forEach(([key, , text], column) => {
      if (key !== 'reading') setText(row.cells[column], text(columns, known));
    });
    setAttribute(row.element, 'data-lost', columns.lost[known] > 0 ? '' : null);
    setAttribute(row.element, 'aria-selected', i === this.selected ? 'true' : null);
    row.flow = columns.flow[known];
    const value = this.values.get(row.flow);
    setText(row.words, value ? reading(value.value) : '');
    setAttribute(row.line, 'd', value ? sparkline(value.line) : '');
  }

  clicked(event) {
    const element = event.target.closest('.flow-row');
    const row = this.pool.find((row) => row?.element === element);
    if (!row || String(getSelection())) return;
    this.select(row.index);
    this.onOpen(row.flow);
  }

  /** Moves the selection, and opens what is selected. */
  move(by) {
    if (this.total === 0) return;
    const from = this.selected < 0 ? (by > 0 ? -1 : 0) : this.selected;
    this.select(Math.min(this.total - 1, Math.max(0, from + by)));
  }

  select(index) {
    this.selected = index;
    const top = index * ROW;
    const height = this.scroller.clientHeight - ROW;
    if (top < this.top) this.scrollTo(top);
    else if (top + ROW > this.top + height) this.scrollTo(top + ROW - height);
    this.focusDue = true;
    this.place();
    this.asks();
  }

  /** Opens the selected row. */
  open() {
    const row = this.pool[this.selected % POOL];
    if (this.selected >= 0 && row?.index === this.selected) this.onOpen(row.flow);
  }
}
