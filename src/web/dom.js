// Small helpers around the DOM. Text goes in as text, never as markup: names come from the
// network.

const SVG = 'http://www.w3.org/2000/svg';

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) {
      element.setAttribute(name, '');
    } else if (value !== false && value !== undefined && value !== null) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A new element: h('a', { href: '/', on: { click } }, 'text', child). */
export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** The same in SVG. */
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

const texts = new WeakMap();

/** Sets an element's text, if it differs: what does not change costs no layout. The text is
 * remembered, since asking for it is dearer. Nothing else may set the text of such an element. */
export function setText(element, text) {
  const value = String(text);
  if (texts.get(element) === value) return;
  texts.set(element, value);
  if (element.textContent !== value) element.textContent = value;
}

/** Sets an attribute, if it differs; null takes it away. */
export function setAttribute(element, name, value) {
  if (value === null) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}

/** Puts these children into the parent in this order, moving only what stands elsewhere, and keeps
 * the focus. */
export function arrange(parent, children) {
  const focused = document.activeElement;
  let place = parent.firstElementChild;
  for (const child of children) {
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  while (place) {
    const next = place.nextElementSibling;
    place.remove();
    place = next;
  }
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

/** Runs `task` when nothing has asked for it for `delay` ms. */
export function debounced(delay, task) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(task, delay);
  };
}
