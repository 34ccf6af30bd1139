// Plays a stream in a video element. mpegts.js is loaded when somebody wants to see something; it
// stays close to the live edge, and connects again, ever more slowly, when the stream ends.

import { h } from './dom.js';
import { loader } from './stream.js';

const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15000];
const PICTURE_WITHIN_MS = 6000;

const SETTINGS = {
  enableWorker: false,
  enableStashBuffer: false,
  stashInitialSize: 32 * 1024,
  lazyLoad: false,
  liveBufferLatencyChasing: true,
  liveBufferLatencyMaxLatency: 1.5,
  liveBufferLatencyMinRemain: 0.3,
  autoCleanupSourceBuffer: true,
  fixAudioTimestampGap: true,
};

let library = null;

/** mpegts.js, loaded once. */
function mpegtsJs() {
  library ??= new Promise((resolve, reject) => {
    const script = h('script', { src: new URL('./vendor/mpegts.js', import.meta.url) });
    script.addEventListener('load', () => {
      window.mpegts.LoggingControl.applyConfig({ enableAll: false });
      resolve(window.mpegts);
    });
    script.addEventListener('error', () => {
      library = null;
      reject(new Error('the player could not be loaded'));
    });
    document.head.append(script);
  });
  return library;
}

const nameOf = (part) => part.name;
const plays = (part) => part.codec !== null && MediaSource.isTypeSupported(part.codec);

/** Plays the stream of a path in a video. `on` has functions: status(text, trouble), plays(),
 * lacks(text). */
export class Player {
  constructor(video, path, on) {
    Object.assign(this, { video, path, on, failures: 0, parts: [], left: [] });
    this.listeners = { playing: () => this.playing(), waiting: () => this.say('waits for the stream') };
    for (const [name, listener] of Object.entries(this.listeners)) video.addEventListener(name, listener);
  }

  async open() {
    this.say('loading the player');
    try {
      const mpegts = await mpegtsJs();
      if (this.ended) return;
      if (mpegts.isSupported()) this.connect(mpegts);
      else this.on.lacks('This browser cannot play live streams (it has no Media Source Extensions).');
    } catch (error) {
      this.say(error.message, true);
    }
  }

  connect(mpegts) {
    this.disconnect(false);
    this.say('waits for the first picture');
    const url = new URL(this.path, location.href).href;
    const customLoader = loader(mpegts, (stream) => this.knows(stream));
    this.player = mpegts.createPlayer({ type: 'mpegts', isLive: true, url }, { ...SETTINGS, customLoader });
    this.player.on(mpegts.Events.ERROR, (type, detail, info) => this.failed(type, detail, info));
    this.player.on(mpegts.Events.LOADING_COMPLETE, () => this.again('the stream has ended'));
    this.player.attachMediaElement(this.video);
    this.player.load();
    this.watch = setTimeout(() => this.noPicture(), PICTURE_WITHIN_MS);
    this.start();
  }

  async start() {
    try {
      await this.video.play();
    } catch (error) {
      // Without a click or a key in this page, browsers play silent films alone.
      if (error.name !== 'NotAllowedError' || this.ended) return;
      this.video.muted = true;
      await this.video.play().catch(() => this.say('press play'));
    }
  }

  /** What the stream carries is known. */
  knows({ parts, left }) {
    Object.assign(this, { parts, left });
    const pictures = parts.filter((part) => part.kind === 'video');
    if (pictures.length > 0 && !pictures.some(plays)) this.lacks(pictures);
  }

  playing() {
    clearTimeout(this.watch);
    this.failures = 0;
    const silent = this.left.filter((part) => part.kind === 'sound');
    if (silent.length > 0) this.say(`live, without sound: browsers do not play ${silent.map(nameOf).join(' or ')}`);
    else this.say(this.video.muted ? 'live, muted' : 'live');
    this.on.plays?.();
  }

  failed(type, detail, info) {
    const text = `${info?.msg ?? detail}`;
    if (type === 'MediaError' && /codec|unsupported|addSourceBuffer/i.test(`${detail} ${text}`)) this.explain(text);
    else this.again(`${type === 'NetworkError' ? 'the stream is gone' : 'the player has failed'} (${text})`);
  }

  again(why) {
    if (this.ended) return;
    this.disconnect();
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.say(`${why}; tries again in ${wait / 1000} s`, true);
    this.retry = setTimeout(() => this.ended || this.connect(window.mpegts), wait);
  }

  noPicture() {
    if (!this.ended && this.video.readyState < 2) this.explain('no picture came');
  }

  /** Says which codec the browser lacks, from the stream's own list of what it carries. */
  explain(why) {
    clearTimeout(this.watch);
    const unplayable = this.parts.filter((part) => !plays(part));
    if (unplayable.length > 0) this.lacks(unplayable);
    else if (this.parts.length === 0) this.say(`No transport stream came within a few seconds (${why}). Does the channel carry one?`, true);
    else this.say(`No picture yet (${why}); the stream carries ${this.parts.map(nameOf).join(' and ')}.`, true);
  }

  lacks(parts) {
    clearTimeout(this.watch);
    this.disconnect();
    this.on.lacks(`This browser cannot play ${parts.map(nameOf).join(' or ')}.`);
  }

  say(text, trouble = false) {
    this.on.status?.(text, trouble);
  }

  /** Ends the connection; in its own listeners it must not end before they have returned. */
  disconnect(later = true) {
    clearTimeout(this.retry);
    clearTimeout(this.watch);
    const { player } = this;
    this.player = null;
    if (!player) return;
    if (later) setTimeout(() => player.destroy());
    else player.destroy();
  }

  close() {
    this.ended = true;
    this.disconnect(false);
    for (const [name, listener] of Object.entries(this.listeners)) this.video.removeEventListener(name, listener);
  }
}
