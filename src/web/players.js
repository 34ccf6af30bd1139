// How a channel is reached from elsewhere: its address, and lines for players and programs, each
// with a button that copies it.

import { h, setText } from './dom.js';
import { icon } from './icons.js';

const quoted = (text) => (/^[\w:/.,@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const string = (text) => JSON.stringify(text);
const whole = (path) => new URL(path, document.baseURI.split('#')[0]).href;

/** What a film's players and programs ask for: [for whom, line]. */
function filmLines(url) {
  const playlist = whole('playlist.m3u');
  return [
    ['VLC', `vlc ${quoted(url)}`],
    ['ffplay', `ffplay -fflags nobuffer ${quoted(url)}`],
    ['mpv', `mpv --profile=low-latency ${quoted(url)}`],
    ['curl', `curl -sN ${quoted(url)} -o film.ts`],
    ['JavaScript', `const player = mpegts.createPlayer({ type: 'mpegts', isLive: true, url: ${string(url)} });\nplayer.attachMediaElement(document.querySelector('video'));\nplayer.load();`],
    ['Python', `import urllib.request\nwith urllib.request.urlopen(${string(url)}) as stream:\n    while chunk := stream.read1(65536):\n        print(len(chunk))`],
    ['All channels', `vlc ${quoted(playlist)}`],
  ];
}

/** The same for sensors, and for whatever else is no film. */
function messageLines(url, raw) {
  const socket = url.replace(/^http/, 'ws').replace('/sse/', '/ws/');
  return [
    ['curl', `curl -sN ${quoted(url)}`],
    ['JavaScript', `new EventSource(${string(url)}).onmessage = ({ data }) => {\n  const { type, flow, payload } = JSON.parse(data);\n  if (type === 'packet') console.log(flow, payload);\n};`],
    ['Python', `import json, urllib.request\nfor line in urllib.request.urlopen(${string(url)}):\n    if line.startswith(b'data: '):\n        print(json.loads(line[6:]))`],
    ['WebSocket', `new WebSocket(${string(`${socket}?format=json`)}).onmessage = ({ data }) => console.log(data);`],
    ['Bytes', `curl -sN ${quoted(raw)} | xxd | head`],
  ];
}

/** A channel's address and lines. */
export function ways({ path, kind }) {
  const stream = whole(path.slice(1));
  if (kind === 'film') return { url: stream, lines: filmLines(stream) };
  const target = path.startsWith('/streams/') ? path.slice('/streams/'.length) : path.slice(1);
  const url = whole(`sse/${target}`);
  return { url, lines: messageLines(url, stream) };
}

/** A button that copies a text, and says so. */
export function copyButton(text, shown, label) {
  const word = h('span', {}, 'Copy');
  const button = h('button', { type: 'button', 'aria-label': label }, icon('copy'), word);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      setText(word, 'Copied');
    } catch {
      // Only pages from localhost or over HTTPS may write there: select it instead.
      getSelection().selectAllChildren(shown);
      setText(word, 'Selected');
    }
    setTimeout(() => setText(word, 'Copy'), 1500);
  });
  return button;
}

/** A list of lines to copy. */
export function linesOf(lines) {
  const row = ([name, line]) => {
    const code = h('code', {}, line);
    return h('li', {}, h('span', { class: 'for' }, name), code, copyButton(line, code, `Copy the line for ${name}`));
  };
  return h('ul', { class: 'lines' }, ...lines.map(row));
}
