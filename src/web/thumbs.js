// The small pictures of channels: the last key frame, as the relay has ffmpeg draw it. They are
// asked for while they are seen, two at a time, and again from time to time. On the wall a tile
// plays while the pointer rests on it.

import { h } from './dom.js';
import { Player } from './player.js';

const AT_ONCE = 2;
const AGAIN_MS = { rows: 30_000, wall: 10_000 };
const NONE_MS = 60_000;
const REST_MS = 350;

const seen = new Set();
let loading = 0;
let still = false;

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) seen.add(target.thumb);
    else seen.delete(target.thumb);
  }
  work();
});
setInterval(work, 1000);

/** Holds all pictures as they are, or lets them go on. */
export function hold(frozen) {
  still = frozen;
}

const onWall = () => document.getElementById('channels').classList.contains('wall');

/** Asks for those that are seen, the oldest first. */
function work() {
  if (document.hidden || still) return;
  const now = performance.now();
  const due = [...seen].filter((thumb) => thumb.wanted && !thumb.busy && now >= thumb.next).sort((a, b) => a.next - b.next);
  for (const thumb of due.slice(0, AT_ONCE - loading)) thumb.load();
}

/** A channel's picture, or its icon as long as there is none. */
export class Thumb {
  constructor(mark) {
    this.element = h('span', { class: 'thumb' }, mark);
    this.element.thumb = this;
    this.next = 0;
    observer.observe(this.element);
    this.element.addEventListener('pointerenter', (event) => this.enter(event));
    this.element.addEventListener('pointerleave', () => this.leave());
  }

  /** What it is a picture of. */
  shows({ path, kind }) {
    this.path = path;
    this.wanted = kind === 'film' && path.startsWith('/streams/');
  }

  load() {
    const image = new Image();
    this.busy = true;
    loading += 1;
    const done = (later) => {
      this.busy = false;
      loading -= 1;
      this.next = performance.now() + later;
      work();
    };
    image.addEventListener('load', () => {
      this.image?.remove();
      this.image = image;
      this.element.append(image);
      done(onWall() ? AGAIN_MS.wall : AGAIN_MS.rows);
    });
    image.addEventListener('error', () => done(this.image ? AGAIN_MS.rows : NONE_MS / 12));
    image.alt = '';
    image.src = `${this.path.slice(1)}/snapshot.jpg?size=small&at=${Date.now()}`;
  }

  enter(event) {
    if (event.pointerType === 'touch' || !this.wanted || !onWall() || still) return;
    this.rests = setTimeout(() => this.start(), REST_MS);
  }

  start() {
    this.video = h('video', { playsinline: true, tabindex: '-1', 'aria-hidden': 'true' });
    this.video.muted = true;
    this.player = new Player(this.video, this.path.slice(1), { lacks: () => this.leave() });
    this.player.open();
    this.video.addEventListener('playing', () => this.element.append(this.video), { once: true });
  }

  leave() {
    clearTimeout(this.rests);
    this.player?.close();
    this.player = null;
    this.video?.remove();
    this.video = null;
  }

  end() {
    this.leave();
    observer.unobserve(this.element);
    seen.delete(this);
  }
}
