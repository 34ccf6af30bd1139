// Line charts over the last minutes, drawn by uPlot, which is loaded when the first one is shown.
// Where nothing was measured the line has a gap; events stand as marks; a tooltip at the
// pointer shows the values of that time, in all charts of a channel.

import { h, setAttribute, setText } from './dom.js';
import { clock } from './format.js';

const HEIGHT = 170;
/** Seconds that are shown at least. */
const LEAST = 60;
/** Shorter spans have seconds at their axis. */
const SECONDS_BELOW = 360;
/** The tooltip lists events this close to the pointer, as a share of the visible time. */
const NEAR = 0.01;

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

const fade = (rgb) => rgb.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.22)');
const last = (values) => values.findLast((value) => value !== null) ?? null;

/** A chart: `series` are [{ label, colour, format, fill }], the first one's format is the axis's.
 * Options: `sync`, a name shared by charts whose pointers move together; `free`, whose times and
 * values need no common scale; `empty`, what is said when there is nothing but zeros. */
export class Chart {
  constructor(title, series, options = {}) {
    Object.assign(this, { title, series, options, span: 600, events: [], plot: null, data: null });
    this.box = h('div', { class: 'chart-box', role: 'img' });
    this.now = h('span', { class: 'quiet mono' });
    this.none = h('p', { class: 'chart-empty', hidden: true }, options.empty ?? 'nothing yet');
    this.tip = new Tip(series);
    const legend = series.map((one) => h('span', { class: 'chart-key' }, h('i', { class: `swatch ${one.swatch ?? one.colour}` }), one.label));
    this.element = h('figure', { class: 'chart' }, h('figcaption', {}, h('strong', {}, title), ...legend, this.now), this.box);
    this.box.append(this.none, this.tip.element);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.box);
  }

  /** Draws [times in s, values...] and marks at the events' times; null is a gap. */
  draw(data, events = []) {
    Object.assign(this, { data, events });
    const words = this.series.map((one, index) => one.format(last(data[index + 1]) ?? 0));
    setText(this.now, words.join(' · '));
    setAttribute(this.box, 'aria-label', `${this.title}: ${this.series.map((one, i) => `${one.label} ${words[i]}`).join(', ')}`);
    this.isEmpty = Boolean(this.options.empty) && data.slice(1).every((values) => values.every((value) => !value));
    if (this.none.hidden === this.isEmpty) this.none.hidden = !this.isEmpty;
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
    this.marks = { warning: colour('degraded'), problem: colour('silent') };
    const grid = { stroke: colour('line'), width: 1 };
    const axis = { stroke: colour('muted'), grid, ticks: { ...grid, size: 4 }, font: '11px system-ui, sans-serif' };
    // Of nothing there is no scale.
    const filter = (_, splits) => (this.isEmpty ? splits.map(() => null) : splits);
    const y = { ...axis, size: 74, filter, values: (_, values) => values.map((value) => (value === null ? '' : this.series[0].format(value))) };
    const lines = this.series.map((one) => {
      const stroke = colour(one.colour);
      return { label: one.label, stroke, width: 1.6, fill: one.fill ? fade(stroke) : undefined, points: { show: false }, spanGaps: false };
    });
    return {
      width: Math.max(this.box.clientWidth, 100),
      height: HEIGHT,
      legend: { show: false },
      cursor: { points: { size: 6 }, drag: { x: false, y: false }, sync: this.options.sync ? { key: this.options.sync } : undefined },
      hooks: { setCursor: [(plot) => this.under(plot)], draw: [(plot) => this.mark(plot)] },
      scales: {
        x: { time: true, range: (_, min, max) => this.times(min, max) },
        y: { range: (_, min, max) => this.range(min, max) },
      },
      axes: [{ ...axis, size: 26, space: 74, values: (plot, values) => values.map((at) => this.clock(at, plot)) }, y],
      series: [{}, ...lines],
    };
  }

  /** Shows so many seconds, or with Infinity all. */
  show(span) {
    this.span = span;
    this.plot?.setData(this.data);
  }

  times(min, max) {
    if (this.options.free || this.span === Infinity) return [min, Math.max(max, min + 10)];
    return [max - Math.min(this.span, Math.max(max - min, LEAST)), max];
  }

  range(min, max) {
    if (min === null || max === null) return [0, 1];
    if (!this.options.free) return [0, max > 0 ? max * 1.1 : 1];
    const margin = Math.max((max - min) * 0.1, Math.abs(max) * 0.001, 1e-6);
    return [min - margin, max + margin];
  }

  /** A time of the axis: with seconds, where minutes would come twice. */
  clock(at, { scales: { x } }) {
    return new Date(at * 1000).toTimeString().slice(0, x.max - x.min < SECONDS_BELOW ? 8 : 5);
  }

  /** Events: a line each, as high as the chart. */
  mark(plot) {
    const { ctx, bbox, scales } = plot;
    ctx.save();
    for (const event of this.events) {
      const at = event.at / 1000;
      if (at < scales.x.min || at > scales.x.max) continue;
      const x = Math.round(plot.valToPos(at, 'x', true)) + 0.5;
      ctx.strokeStyle = this.marks[event.level];
      ctx.setLineDash([3, 4]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  /** Tells what is under the pointer. */
  under(plot) {
    const { idx, left } = plot.cursor;
    if (!this.data || idx === null || idx === undefined || left < 0) {
      this.tip.hide();
      return;
    }
    const at = this.data[0][idx];
    const near = (plot.scales.x.max - plot.scales.x.min) * NEAR;
    const event = this.events.find((event) => Math.abs(event.at / 1000 - at) <= near);
    const words = this.series.map((one, i) => (this.data[i + 1][idx] === null ? 'none' : one.format(this.data[i + 1][idx])));
    this.tip.show(at * 1000, words, event, left + plot.bbox.left / devicePixelRatio, this.box.clientWidth);
  }

  resize() {
    if (this.plot && this.box.clientWidth > 0) this.plot.setSize({ width: this.box.clientWidth, height: HEIGHT });
  }

  /** Draws again in the colours of the theme. */
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

/** The content of the tooltip. */
class Tip {
  constructor(series) {
    this.time = h('time');
    this.values = series.map(() => h('b'));
    const lines = series.map((one, index) => h('p', {}, h('i', { class: `swatch ${one.swatch ?? one.colour}` }), one.label, this.values[index]));
    this.event = h('p', { class: 'tip-event' });
    this.element = h('div', { class: 'chart-tip', hidden: true, 'aria-hidden': 'true' }, this.time, ...lines, this.event);
  }

  show(at, words, event, x, width) {
    setText(this.time, clock(at));
    words.forEach((word, index) => setText(this.values[index], word));
    setText(this.event, event ? event.text : '');
    this.event.hidden = !event;
    this.element.hidden = false;
    // Beside the pointer, on the side that has room.
    const own = this.element.offsetWidth;
    this.element.style.left = `${x + 14 + own > width ? Math.max(0, x - 14 - own) : x + 14}px`;
    this.element.style.top = '6px';
  }

  hide() {
    if (!this.element.hidden) this.element.hidden = true;
  }
}
