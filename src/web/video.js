// A channel's film in the page. The player (mpegts.js) is loaded when somebody wants to see one; it stays close to the
// live edge, and connects again, ever more slowly, when the stream ends. What a browser cannot play is named, with
// command lines for players that can.

import { h, setText } from './dom.js';

const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15000];
const PICTURE_WITHIN_MS = 6000;
const SNIFF_BYTES = 1 << 20;

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

/** Stream types of ISO 13818-1 and what browsers call their codecs; null: no browser plays it from a page. */
const STREAM_TYPES = new Map([
  [0x01, ['MPEG-1 video', null]],
  [0x02, ['MPEG-2 video', null]],
  [0x03, ['MPEG audio', 'audio/mpeg']],
  [0x04, ['MPEG-2 audio', 'audio/mpeg']],
  [0x0f, ['AAC', 'audio/mp4; codecs="mp4a.40.2"']],
  [0x11, ['AAC (LATM)', 'audio/mp4; codecs="mp4a.40.2"']],
  [0x1b, ['H.264', 'video/mp4; codecs="avc1.64001f"']],
  [0x24, ['HEVC', 'video/mp4; codecs="hvc1.1.6.L93.B0"']],
  [0x33, ['VVC', null]],
  [0x81, ['AC-3', 'audio/mp4; codecs="ac-3"']],
  [0x87, ['E-AC-3', 'audio/mp4; codecs="ec-3"']],
]);

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
    this.disconnect();
    this.say('waits for the first picture');
    const url = new URL(this.path, location.href).href;
    this.player = mpegts.createPlayer({ type: 'mpegts', isLive: true, url }, SETTINGS);
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

  async noPicture() {
    if (this.playing && this.video.readyState < 2) await this.explain('no picture came');
  }

  /** Says which codec the browser lacks, from the stream's own list of what it carries. */
  async explain(why) {
    clearTimeout(this.watch);
    const parts = await contents(this.path).catch(() => []);
    if (!this.playing) return;
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

  disconnect() {
    clearTimeout(this.retry);
    clearTimeout(this.watch);
    this.player?.destroy();
    this.player = null;
  }

  stop() {
    this.element.hidden = true;
    this.disconnect();
    this.video.removeAttribute('src');
    this.video.load();
    this.failures = 0;
  }
}

/** What a stream carries: [name, type] of each part of its first programme, read from its PAT and PMT. */
async function contents(path) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), PICTURE_WITHIN_MS);
  try {
    const response = await fetch(path, { signal: abort.signal });
    const reader = response.body.getReader();
    let known = new Uint8Array(0);
    while (known.length < SNIFF_BYTES) {
      const { value, done } = await reader.read();
      if (done) break;
      const all = new Uint8Array(known.length + value.length);
      all.set(known);
      all.set(value, known.length);
      known = all;
      const found = streams(known);
      if (found.length > 0) return found;
    }
    return [];
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
}

/** The streams that the first PMT in these bytes lists (ISO 13818-1, 2.4.4). */
export function streams(bytes) {
  let pmt = -1;
  for (let at = 0; at + 188 <= bytes.length; at += 188) {
    if (bytes[at] !== 0x47) return [];
    const pid = ((bytes[at + 1] & 0x1f) << 8) | bytes[at + 2];
    const starts = bytes[at + 1] & 0x40;
    if (!starts || (pid !== 0 && pid !== pmt)) continue;
    let table = at + 4;
    if (bytes[at + 3] & 0x20) table += 1 + bytes[table];
    table += 1 + bytes[table];
    const length = ((bytes[table + 1] & 0x0f) << 8) | bytes[table + 2];
    const end = Math.min(table + 3 + length - 4, at + 188);
    if (pid === 0) {
      for (let entry = table + 8; entry + 4 <= end && pmt < 0; entry += 4) {
        const programme = (bytes[entry] << 8) | bytes[entry + 1];
        if (programme !== 0) pmt = ((bytes[entry + 2] & 0x1f) << 8) | bytes[entry + 3];
      }
      continue;
    }
    const found = [];
    let entry = table + 12 + (((bytes[table + 10] & 0x0f) << 8) | bytes[table + 11]);
    while (entry + 5 <= end) {
      const type = bytes[entry];
      const known = STREAM_TYPES.get(type);
      // Private data (subtitles, splice points) is nothing that a film lacks.
      if (known) found.push(known);
      else if (type !== 0x05 && type !== 0x06 && type !== 0x86 && type !== 0x15) found.push([`stream type 0x${type.toString(16)}`, null]);
      entry += 5 + (((bytes[entry + 3] & 0x0f) << 8) | bytes[entry + 4]);
    }
    return found;
  }
  return [];
}

/** Command lines that play it elsewhere, each with a button that copies it. */
function elsewhere(path) {
  const url = quoted(new URL(path, location.href).href);
  const playlist = quoted(new URL('/playlist.m3u', location.href).href);
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
