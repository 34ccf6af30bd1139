// An SVG whose parts have keys: what is drawn again under its key moves, and what is not drawn
// again goes. So the parts' animations go on from second to second. Its coordinates lie along a
// flow and across it; upright, the flow goes down.

import { setAttribute, setText, svg } from './dom.js';

/** The part of a text that has room. */
const shortened = (text, letters) => (text.length > letters ? `${text.slice(0, Math.max(1, Math.floor(letters) - 1))}…` : text);

export class Drawing {
  constructor() {
    const stop = (offset, name) => svg('stop', { offset, class: `stop-${name}` });
    this.gradients = [
      svg('linearGradient', { id: 'flow-in' }, stop(0, 'in'), stop(1, 'core')),
      svg('linearGradient', { id: 'flow-out' }, stop(0, 'core'), stop(1, 'out')),
    ];
    this.element = svg('svg', { role: 'img' }, svg('defs', {}, ...this.gradients));
    this.parts = new Map();
  }

  begin(width, height, upright) {
    this.upright = upright;
    this.touched = new Set();
    setAttribute(this.element, 'viewBox', `0 0 ${width} ${height}`);
    for (const gradient of this.gradients) {
      setAttribute(gradient, 'x2', upright ? 0 : 1);
      setAttribute(gradient, 'y2', upright ? 1 : 0);
    }
  }

  end() {
    for (const [key, part] of this.parts) {
      if (this.touched.has(key)) continue;
      part.remove();
      this.parts.delete(key);
    }
  }

  put(key, tag, attributes) {
    this.touched.add(key);
    let part = this.parts.get(key);
    if (!part) {
      part = svg(tag);
      this.parts.set(key, part);
      this.element.append(part);
    }
    for (const [name, value] of Object.entries(attributes)) setAttribute(part, name, value);
    return part;
  }

  at(along, across) {
    const [x, y] = this.upright ? [across, along] : [along, across];
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  }

  path(key, kind, d, width) {
    const attributes = { class: kind, d };
    if (width) attributes['stroke-width'] = width.toFixed(1);
    return this.put(key, 'path', attributes);
  }

  /** From an edge at `a` to one at `b`, each with its start across and its size. */
  ribbon(key, kind, a, aStart, aSize, b, bStart, bSize) {
    const m = (a + b) / 2;
    const curve = (p, q) => `C${this.at(m, p)} ${this.at(m, q)}`;
    const d = `M${this.at(a, aStart)}${curve(aStart, bStart)} ${this.at(b, bStart)}L${this.at(b, bStart + bSize)}${curve(bStart + bSize, aStart + aSize)} ${this.at(a, aStart + aSize)}Z`;
    this.path(key, kind, d);
  }

  /** A line that begins and ends along the flow, or with `straight` just a line. */
  curve(key, kind, a, from, b, to, straight = false) {
    const m = (a + b) / 2;
    this.path(key, kind, straight ? `M${this.at(a, from)}L${this.at(b, to)}` : `M${this.at(a, from)}C${this.at(m, from)} ${this.at(m, to)} ${this.at(b, to)}`);
  }

  line(key, kind, width, a, from, b, to) {
    this.path(key, `${kind} stroked`, `M${this.at(a, from)}L${this.at(b, to)}`, width);
  }

  /** Out of the stream, which hides where it begins, back, and along the tray. */
  drop(key, width, a, from, b, tray) {
    const d = `M${this.at(a + 2, from)}C${this.at(a - 46, from)} ${this.at(a - 46, tray)} ${this.at(b + 1, tray)}`;
    this.path(key, 'falls stroked', d, width);
  }

  /** From the tray back into the stream. */
  rise(key, width, at, tray, core) {
    this.path(key, 'back stroked', `M${this.at(at - width / 2 - 8, tray)}Q${this.at(at, tray)} ${this.at(at, tray - 14)}L${this.at(at, core + 4)}`, width);
  }

  /** From the tray out. */
  fall(key, a, b, tray) {
    this.path(key, 'lost-line', `M${this.at(a, tray)}L${this.at(b - 20, tray)}Q${this.at(b, tray)} ${this.at(b, tray + (this.upright ? 10 : 20))}`);
  }

  box(key, kind, along, across, length, size, radius) {
    const [x, y, width, height] = this.upright ? [across, along, size, length] : [along, across, length, size];
    this.put(key, 'rect', { class: kind, x: x.toFixed(1), y: y.toFixed(1), width: width.toFixed(1), height: height.toFixed(1), rx: radius });
  }

  /** Text at a place of the picture, whichever way the flow goes. */
  text(key, kind, x, y, text, letters = 99) {
    const part = this.put(key, 'text', { class: kind, x: x.toFixed(1), y: y.toFixed(1) });
    setText(part, shortened(text, letters));
  }
}
