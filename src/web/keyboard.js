// Keys for all that the pointer can do.

/** `actions` has a function for each key; those that return false leave the key to the browser. */
export function listen(actions) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const writes = event.target.matches('input, select, textarea');
    if (writes) {
      if (event.key === 'Escape') leave(event.target);
      return;
    }
    const action = actions[event.key];
    if (action && action(event) !== false) event.preventDefault();
  });
}

function leave(input) {
  if (input.value && input.type === 'search') {
    input.value = '';
    input.dispatchEvent(new Event('input', { bubbles: true }));
  } else {
    input.blur();
  }
}

/** Moves the focus by one among these elements. */
export function step(elements, by) {
  if (elements.length === 0) return;
  const at = elements.findIndex((element) => element.contains(document.activeElement));
  const next = at < 0 ? (by > 0 ? 0 : elements.length - 1) : Math.min(elements.length - 1, Math.max(0, at + by));
  const target = elements[next].querySelector('a, button') ?? elements[next];
  target.focus();
  target.scrollIntoView({ block: 'nearest' });
}
