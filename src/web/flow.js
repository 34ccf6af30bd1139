// One flow of a channel: what was counted, its last reading, and a line of its readings.

import { h, setText } from './dom.js';
import { clock, short, time } from './format.js';
import { Chart } from './charts.js';
import { COLUMNS, reading } from './flows.js';
import { numeric } from './state.js';

/** One flow in full: what was counted, its last reading, and a line of the readings since it was
 * opened. */
export class OneFlow {
  constructor(channel, path, onClose) {
    this.path = path;
    this.title = h('h2');
    this.value = h('p', { class: 'big-value' });
    this.facts = h('dl', { class: 'facts' });
    this.link = h('a', { class: 'button' }, 'Its stream');
    this.raw = h('pre', { class: 'raw', tabindex: '0', 'aria-label': 'The last reading as it came' });
    this.close = h('button', { type: 'button', on: { click: onClose } }, 'Close');
    this.chartPlace = h('div');
    this.element = h(
      'section',
      { class: 'one-flow', 'aria-label': 'One flow', hidden: true },
      h('div', { class: 'section-head' }, this.title, h('span', { class: 'grow' }), this.link, this.close),
      this.value,
      this.chartPlace,
      this.facts,
      this.raw,
    );
    this.values = new Map();
  }

  open(flow) {
    this.flow = flow;
    this.points = [[], []];
    this.chart?.end();
    this.chart = null;
    this.chartPlace.replaceChildren();
    this.element.hidden = flow === '';
    setText(this.title, `Flow ${flow}`);
    setText(this.value, '');
    setText(this.raw, '');
    this.link.href = `${this.path}?flow=${encodeURIComponent(flow)}`;
  }

  draw(columns, values) {
    if (!this.flow || !columns || columns.flow[0] !== this.flow) return;
    for (const [key, label, text] of COLUMNS) {
      if (text && key !== 'flow') this.fact(key, label, text(columns, 0));
    }
    this.fact('session', 'Session', `0x${columns.session[0].toString(16)}`);
    this.fact('hold', 'Hold', time(columns.hold_seconds[0]));
    const value = values.get(this.flow);
    const none = value === undefined;
    for (const part of [this.raw, this.value]) if (part.hidden !== none) part.hidden = none;
    if (value) this.drawValue(value);
  }

  drawValue({ at, value }) {
    setText(this.value, reading(value));
    setText(this.raw, `${typeof value === 'string' ? value : JSON.stringify(value)}   (${clock(at)})`);
    const number = numeric(value);
    if (number === null || this.points[0].at(-1) === at / 1000) return;
    this.points = [this.points[0].concat(at / 1000).slice(-600), this.points[1].concat(number).slice(-600)];
    if (this.points[0].length < 2) return;
    if (!this.chart) {
      this.chart = new Chart('Reading', [{ label: `flow ${this.flow}`, colour: 'accent', format: short }], { free: true });
      this.chartPlace.append(this.chart.element);
    }
    this.chart.draw(this.points);
  }

  fact(key, label, text) {
    if (!this.values.has(key)) {
      const value = h('dd');
      this.values.set(key, value);
      this.facts.append(h('div', {}, h('dt', {}, label), value));
    }
    setText(this.values.get(key), text);
  }

  end() {
    this.chart?.end();
  }
}
