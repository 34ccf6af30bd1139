// What an operator may do where the relay allows it: disconnect a client, after a question.

import { byId, h } from './dom.js';
import { clock, program } from './format.js';

/** The client in a row of the table. */
export const clientOf = (c, row) => ({ id: c.id[row], address: c.address[row], by: [c.transport[row], program(c.agent[row] ?? '')].filter(Boolean).join(', '), since: c.since[row] });

/** Asks whether to disconnect a client of a channel, and does it. `done` is called when it was. */
export function disconnect(channel, { id, address, by, since }, done) {
  const dialog = byId('ask');
  const trouble = h('p', { class: 'trouble', role: 'alert', hidden: true });
  const keep = h('button', { type: 'button' }, 'Keep it');
  const act = h('button', { type: 'button', class: 'danger' }, 'Disconnect');
  keep.addEventListener('click', () => dialog.close());
  act.addEventListener('click', async () => {
    act.disabled = true;
    const answer = await fetch(`api/v1/streams/${encodeURIComponent(channel)}/clients/${id}`, { method: 'DELETE' }).catch(() => null);
    if (answer?.ok) {
      dialog.close();
      done();
      return;
    }
    trouble.textContent = answer ? await answer.text() : 'The relay does not answer.';
    trouble.hidden = false;
    act.disabled = false;
    act.focus();
  });
  dialog.replaceChildren(
    h('h2', { id: 'ask-title' }, `Disconnect ${address}?`),
    h('p', {}, `${by}, since ${clock(since)}. Its connection ends, with all that it has subscribed to. It may come again: many players and pages do so by themselves.`),
    trouble,
    h('div', { class: 'answers' }, keep, act),
  );
  dialog.showModal();
  keep.focus();
}
