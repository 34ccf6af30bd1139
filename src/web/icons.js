// The icons: lines on a grid of 16, drawn in the colour of the text beside them.

import { svg } from './dom.js';

const LINES = {
  ok: 'M8 1.2a6.8 6.8 0 1 0 0 13.6A6.8 6.8 0 1 0 8 1.2M4.9 8.3l2.1 2.1 4.1-4.5',
  degraded: 'M8 1.7 15 14H1zM8 6.2v3.6M8 11.7v.2',
  silent: 'M4 1.5h8A2.5 2.5 0 0 1 14.5 4v8a2.5 2.5 0 0 1-2.5 2.5H4A2.5 2.5 0 0 1 1.5 12V4A2.5 2.5 0 0 1 4 1.5M5.2 8h5.6',
  info: 'M8 1.2a6.8 6.8 0 1 0 0 13.6A6.8 6.8 0 1 0 8 1.2M8 7.3v4M8 4.6v.1',
  warning: 'M8 1.7 15 14H1zM8 6.2v3.6M8 11.7v.2',
  problem: 'M4 1.5h8A2.5 2.5 0 0 1 14.5 4v8a2.5 2.5 0 0 1-2.5 2.5H4A2.5 2.5 0 0 1 1.5 12V4A2.5 2.5 0 0 1 4 1.5M5.5 5.5l5 5m0-5-5 5',
  copy: 'M6 5.5h6.5A1 1 0 0 1 13.5 6.5v7a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1M3 10.5h-.5a1 1 0 0 1-1-1V2.5a1 1 0 0 1 1-1h7a1 1 0 0 1 1 1V3',
  share: 'M1.5 1.5h4.7v4.7H1.5zM9.8 1.5h4.7v4.7H9.8zM1.5 9.8h4.7v4.7H1.5zM9.8 9.8h1.5v1.5M14.5 9.8v1.7M9.8 14.5h1.7M13 13h1.5v1.5',
  film: 'M2 2.5h12A.8.8 0 0 1 14.8 3.3v9.4a.8.8 0 0 1-.8.8H2a.8.8 0 0 1-.8-.8V3.3A.8.8 0 0 1 2 2.5M6.4 5.4 10.8 8 6.4 10.6z',
  sensor: 'M1 8h3l2-5 3.5 10L12 8h3',
  stream: 'M1 5.5c2.3-2.7 4.7-2.7 7 0s4.7 2.7 7 0M1 11c2.3-2.7 4.7-2.7 7 0s4.7 2.7 7 0',
  back: 'M9.5 2.5 4 8l5.5 5.5',
  close: 'M3 3l10 10M13 3 3 13',
  download: 'M8 1.5v9M4.2 7 8 10.8 11.8 7M2 14.3h12',
  sound: 'M2 6h2.6L8 3v10l-3.4-3H2zM10.6 5.6a3.5 3.5 0 0 1 0 4.8M12.8 3.5a6.3 6.3 0 0 1 0 9',
  muted: 'M2 6h2.6L8 3v10l-3.4-3H2zM11 6l4 4m0-4-4 4',
  floating: 'M1.5 2.5h13v11h-13zM8 8h5v4H8z',
  full: 'M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4',
};
const SOLID = {
  play: 'M4.2 2.3v11.4L13.4 8z',
  stop: 'M3.5 3.5h9v9h-9z',
};

/** A new icon. */
export function icon(name) {
  const path = SOLID[name] ? svg('path', { class: 'solid', d: SOLID[name] }) : svg('path', { d: LINES[name] });
  return svg('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true', 'data-icon': name }, path);
}

/** Makes an icon show another one, if it does not already. */
export function setIcon(element, name) {
  if (element.dataset.icon === name) return;
  element.dataset.icon = name;
  element.replaceChildren(...icon(name).childNodes);
}
