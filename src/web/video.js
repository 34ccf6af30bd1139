// A channel's film in the page. The player (mpegts.js) is loaded when somebody wants to see one; it stays close to the
// live edge, and connects again, ever more slowly, when the stream ends. What a browser cannot play is named, with
// command lines for players that can.

import { h, setText } from './dom.js';
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
export function player() {
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

/** The film of a channel: a video with its controls, a line that says how it is, and lines to copy. */
export class Film {
  constructor(name, path) {
    this.path = path;
    this.video = h('video', { controls: true, playsinline: true, 'aria-label': `Film of ${name}` });
    this.status = h('p', { class: 'film-status', role: 'status' });
    this.element = h('section', { class: 'film', 'aria-label': 'Film', hidden: true }, this.video, this.status, elsewhere(path));
    this.failures = 0;
    this.video.addEventListener('playing', () => this.plays());
    this.video.addEventListener('waiting', () => this.playing && this.say('waits for the stream'));
  }

  get playing() {
    return !this.element.hidden;
  }

  async play() {
    this.element.hidden = false;
    this.element.scrollIntoView({ block: 'nearest' });
    this.started = performance.now();
    this.say('loading the player');
    try {
      const mpegts = await player();
      if (!this.playing) return;
      if (!mpegts.isSupported()) {
        this.say('This browser cannot play live streams (it has no Media Source Extensions). Another player can:');
        return;
      }
      this.connect(mpegts);
    } catch (error) {
      this.say(error.message);
    }
  }

  connect(mpegts) {
    this.disconnect(false);
    this.say('waits for the first picture');
    const url = new URL(this.path, location.href).href;
    this.player = mpegts.createPlayer({ type: 'mpegts', isLive: true, url }, { ...SETTINGS, customLoader: loader(mpegts, (stream) => (this.stream = stream)) });
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
      if (error.name !== 'NotAllowedError' || !this.playing) return;
      this.video.muted = true;
      await this.video.play().catch(() => this.say('press play'));
    }
  }

  plays() {
    clearTimeout(this.watch);
    this.failures = 0;
    this.say(this.video.muted ? 'live, without sound' : 'live');
  }

  failed(type, detail, info) {
    const text = `${info?.msg ?? detail}`;
    if (type === 'MediaError' && /codec|unsupported|addSourceBuffer/i.test(`${detail} ${text}`)) this.explain(text);
    else this.again(`${type === 'NetworkError' ? 'the stream is gone' : 'the player has failed'} (${text})`);
  }

  again(why) {
    this.disconnect();
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.say(`${why}; tries again in ${wait / 1000} s`);
    this.retry = setTimeout(() => this.playing && this.connect(window.mpegts), wait);
  }

  noPicture() {
    if (this.playing && this.video.readyState < 2) this.explain('no picture came');
  }

  /** Says which codec the browser lacks, from the stream's own list of what it carries. */
  explain(why) {
    clearTimeout(this.watch);
    const parts = this.stream?.parts ?? [];
    const lacks = parts.filter(([, type]) => !type || !MediaSource.isTypeSupported(type)).map(([name]) => name);
    if (lacks.length > 0) {
      this.disconnect();
      this.say(`This browser cannot play ${lacks.join(' or ')}. Another player can:`);
    } else if (parts.length === 0) {
      this.say(`No transport stream came within a few seconds (${why}). Does the channel carry one?`);
    } else {
      this.say(`No picture yet (${why}); the stream carries ${parts.map(([name]) => name).join(' and ')}.`);
    }
  }

  say(text) {
    setText(this.status, text);
  }

  /** Ends the player; in its own listeners it must not end before they have returned. */
  disconnect(later = true) {
    clearTimeout(this.retry);
    clearTimeout(this.watch);
    const { player } = this;
    this.player = null;
    if (!player) return;
    if (later) setTimeout(() => player.destroy());
    else player.destroy();
  }

  stop() {
    this.element.hidden = true;
    this.disconnect(false);
    this.failures = 0;
  }
}

/** Command lines that play it elsewhere, each with a button that copies it. */
function elsewhere(path) {
  const url = quoted(new URL(path, location.href).href);
  const playlist = quoted(new URL('playlist.m3u', location.href).href);
  const lines = [`ffplay -fflags nobuffer ${url}`, `vlc ${url}`, `vlc ${playlist}`, `curl -sN ${url} -o film.ts`];
  const row = (line) => {
    const code = h('code', {}, line);
    const button = h('button', { type: 'button', 'aria-label': `Copy ${line}` }, 'Copy');
    button.addEventListener('click', () => copy(line, code, button));
    return h('li', {}, code, button);
  };
  return h('details', { class: 'elsewhere' }, h('summary', {}, 'Play it elsewhere'), h('ul', {}, ...lines.map(row)));
}

const quoted = (text) => (/^[\w:/.,@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

async function copy(text, code, button) {
  try {
    await navigator.clipboard.writeText(text);
    setText(button, 'Copied');
  } catch {
    // Only pages from localhost or over HTTPS may write there: select it instead.
    getSelection().selectAllChildren(code);
    setText(button, 'Selected');
  }
  setTimeout(() => setText(button, 'Copy'), 1500);
}
