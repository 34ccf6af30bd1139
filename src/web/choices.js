// What somebody chose for good: the theme, and how channels are shown. Storage may be forbidden:
// then a choice lasts as long as the page.

import { byId, setAttribute, setText } from './dom.js';

const VIEWS = ['rows', 'compact', 'wall'];
/** With more channels than this, rows become compact ones, unless somebody chose. */
const ROWS_MAX = 16;

function store(name, value) {
  try {
    if (value) localStorage.setItem(`tidecast-${name}`, value);
    else localStorage.removeItem(`tidecast-${name}`);
  } catch {
    // Nothing is kept.
  }
}

function stored(name) {
  try {
    return localStorage.getItem(`tidecast-${name}`);
  } catch {
    return null;
  }
}

const system = matchMedia('(prefers-color-scheme: dark)');
const changed = () => document.dispatchEvent(new Event('themechange'));
system.addEventListener('change', changed);

function drawTheme() {
  const { theme } = document.documentElement.dataset;
  setText(byId('theme-word'), theme ? `Theme: ${theme}` : 'Theme: system');
}

/** From the system's theme to the other one, to the one that is as the system's, and back to the
 * system's. */
export function nextTheme() {
  const root = document.documentElement;
  const [own, other] = system.matches ? ['dark', 'light'] : ['light', 'dark'];
  const next = { undefined: other, [other]: own, [own]: '' }[root.dataset.theme];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  store('theme', next);
  drawTheme();
  changed();
}

let chosen = VIEWS.includes(stored('view')) ? stored('view') : '';

/** Shows so many channels as was chosen, or as suits their number. */
export function drawView(channels) {
  const shown = chosen || (channels > ROWS_MAX ? 'compact' : 'rows');
  if (byId('board').dataset.view === shown) return;
  byId('board').dataset.view = shown;
  byId('channels').className = `channels ${shown}`;
  for (const name of VIEWS) setAttribute(byId(`view-${name}`), 'aria-pressed', name === shown);
}

/** Listens to the buttons. */
export function listenToChoices(draw) {
  drawTheme();
  byId('theme').addEventListener('click', nextTheme);
  for (const name of VIEWS) {
    byId(`view-${name}`).addEventListener('click', () => {
      chosen = name;
      store('view', name);
      draw();
    });
  }
}
