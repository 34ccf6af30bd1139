// Line charts over the last ten minutes, drawn by uPlot, which is loaded when the first one is shown.

import { h, setAttribute, setText } from './dom.js';
import { bits, count, packets, time } from './format.js';

const HEIGHT = 150;
const SPAN_S = 600;

let library = null;

/** uPlot, loaded once. */
export function uPlot() {
  library ??= new Promise((resolve, reject) => {
    const style = h('link', { rel: 'stylesheet', href: new URL('./vendor/uPlot.min.css', import.meta.url) });
    const script = h('script', { src: new URL('./vendor/uPlot.iife.min.js', import.meta.url) });
    script.addEventListener('load', () => resolve(window.uPlot));
    script.addEventListener('error', () => {
      library = null;
      reject(new Error('the charts could not be loaded'));
    });
    document.head.append(style, script);
  });
  return library;
}

/** A colour of the style sheet, as the canvas needs it. */
function colour(name) {
  const probe = h('i', { class: `probe-${name}` });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** A chart: `series` are [{ label, colour, format }], the first one's format is the axis's. */
export class Chart {
  constructor(title, series, options = {}) {
    this.series = series;
    this.options = options;
    this.title = title;
    this.box = h('div', { class: 'chart-box', role: 'img' });
    this.now = h('span', { class: 'quiet' });
    const legend = series.map((one) => h('span', { class: 'chart-key' }, h('i', { class: `swatch ${one.colour}` }), one.label));
    this.element = h('figure', { class: 'chart' }, h('figcaption', {}, h('strong', {}, title), ...legend, this.now), this.box);
    this.plot = null;
    this.data = null;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.box);
  }

  /** Draws [times in s, values...]. */
  draw(data) {
    this.data = data;
    const last = this.series.map((one, index) => one.format(data[index + 1].at(-1) ?? 0));
    setText(this.now, last.join(' · '));
    setAttribute(this.box, 'aria-label', `${this.title}: ${this.series.map((one, i) => `${one.label} ${last[i]}`).join(', ')}`);
    if (this.plot) this.plot.setData(data);
    else this.make();
  }

  async make() {
    if (this.making) return;
    this.making = true;
    try {
      const Plot = await uPlot();
      if (this.ended || this.plot) return;
      this.plot = new Plot(this.settings(), this.data, this.box);
    } catch (error) {
      setText(this.now, error.message);
    } finally {
      this.making = false;
    }
  }

  settings() {
    const ink = colour('muted');
    const grid = { stroke: colour('line'), width: 1 };
    const axis = { stroke: ink, grid, ticks: { ...grid, size: 4 }, font: '11px system-ui, sans-serif' };
    const y = { ...axis, size: 72, values: (_, values) => values.map((value) => this.series[0].format(value)) };
    const lines = this.series.map((one) => {
      const stroke = colour(one.colour);
      return { label: one.label, stroke, width: 1.5, fill: one.fill ? fade(stroke) : undefined, points: { show: false }, value: (_, value) => (value === null ? '' : one.format(value)) };
    });
    return {
      width: Math.max(this.box.clientWidth, 100),
      height: HEIGHT,
      legend: { show: false },
      cursor: { points: { size: 6 }, drag: { x: false, y: false }, sync: this.options.sync ? { key: this.options.sync } : undefined },
      hooks: { setCursor: [(plot) => this.under(plot)] },
      scales: {
        x: { time: true, range: (plot, min, max) => (this.options.free ? [min, Math.max(max, min + 10)] : [max - SPAN_S, max]) },
        y: { range: (_, min, max) => this.range(min, max) },
      },
      axes: [{ ...axis, size: 26, space: 70, values: (_, values) => values.map((at) => new Date(at * 1000).toTimeString().slice(0, this.options.free ? 8 : 5)) }, y],
      series: [{}, ...lines],
    };
  }

  range(min, max) {
    if (min === null || max === null) return [0, 1];
    if (!this.options.free) return [0, max > 0 ? max * 1.1 : 1];
    const margin = Math.max((max - min) * 0.1, Math.abs(max) * 0.001, 1e-6);
    return [min - margin, max + margin];
  }

  /** Says what is under the pointer. */
  under(plot) {
    const index = plot.cursor.idx;
    if (!this.data || index === null || index === undefined) return;
    const at = new Date(this.data[0][index] * 1000).toTimeString().slice(0, 8);
    const values = this.series.map((one, i) => one.format(this.data[i + 1][index] ?? 0));
    const over = plot.cursor.left >= 0;
    setText(this.now, over ? `${at}: ${values.join(' · ')}` : this.series.map((one, i) => one.format(this.data[i + 1].at(-1) ?? 0)).join(' · '));
  }

  resize() {
    if (this.plot && this.box.clientWidth > 0) this.plot.setSize({ width: this.box.clientWidth, height: HEIGHT });
  }

  /** Draws anew in the colours of the theme. */
  recolour() {
    this.plot?.destroy();
    this.plot = null;
    if (this.data) this.make();
  }

  end() {
    this.ended = true;
    this.observer.disconnect();
    this.plot?.destroy();
    this.plot = null;
  }
}

const fade = (rgb) => rgb.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.12)');
const perSecond = (value) => `${count(value)}/s`;
const slow = (value) => (value > 0 && value < 10 ? `${value.toPrecision(2)}/s` : perSecond(value));

/** The charts of a channel, and how each is made from the columns of its history. */
export const CHANNEL_CHARTS = [
  {
    title: 'Received',
    series: [{ label: 'bit rate', colour: 'received', format: bits, fill: true }],
    values: (c) => [c.bytes.map((value) => value * 8)],
  },
  {
    title: 'Lost and recovered',
    series: [
      { label: 'recovered', colour: 'fec', format: slow },
      { label: 'lost', colour: 'network', format: slow, fill: true },
    ],
    values: (c) => [c.recovered_fec.map((value, i) => value + c.recovered_retransmission[i]), c.lost],
  },
  {
    title: 'Delay',
    series: [
      { label: 'hold', colour: 'accent', format: time },
      { label: 'jitter', colour: 'late', format: time },
    ],
    values: (c) => [c.hold_seconds, c.jitter_seconds],
  },
  {
    title: 'Packets',
    series: [
      { label: 'delivered', colour: 'received', format: packets },
      { label: 'duplicates', colour: 'kernel', format: packets },
    ],
    values: (c) => [c.delivered, c.duplicate],
  },
];
