// The panel with a channel's address: as text, as a QR code, and as lines for players and
// programs.

import { byId, h, svg } from './dom.js';
import { icon } from './icons.js';
import { copyButton, linesOf, ways } from './players.js';

const QUIET = 4; // modules of margin, as the standard wants it

/** A text as a QR code, in one path. */
async function picture(text) {
  const { correction, generate } = await import('./vendor/lean-qr.mjs');
  const code = generate(text, { minCorrectionLevel: correction.M });
  const { size } = code;
  let d = '';
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      if (code.get(column, row)) d += `M${column} ${row}h1v1h-1z`;
    }
  }
  const box = `${-QUIET} ${-QUIET} ${size + 2 * QUIET} ${size + 2 * QUIET}`;
  return svg('svg', { class: 'qr', viewBox: box, role: 'img', 'aria-label': `QR code of ${text}`, 'shape-rendering': 'crispEdges' }, svg('path', { d }));
}

/** Opens the panel for a channel: { name, path, kind }. */
export function share(channel) {
  const { url, lines } = ways(channel);
  const place = h('div', { class: 'qr-place' });
  const address = h('code', { class: 'share-url' }, url);
  const close = h('button', { type: 'button', class: 'only-icon', 'aria-label': 'Close' }, icon('close'));
  const dialog = byId('share');
  close.addEventListener('click', () => dialog.close());
  dialog.replaceChildren(
    h('div', { class: 'dialog-head' }, h('h2', { id: 'share-title' }, channel.name), close),
    h('div', { class: 'share-top' }, place, h('div', {}, address, copyButton(url, address, 'Copy the address'))),
    linesOf(lines),
  );
  picture(url).then(
    (code) => place.replaceChildren(code),
    () => place.replaceChildren('The QR code could not be loaded.'),
  );
  dialog.showModal();
  dialog.querySelector('.share-top button').focus();
  dialog.scrollTop = 0;
}
