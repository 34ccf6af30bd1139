// A page of another site, admitted by the relay: it reads streams, API and events across origins, and mpegts.js plays raw
// messages of a WebSocket, as it does in pages that people write themselves.
//
//   node elsewhere.mjs BASE CHANNEL PLAYER PORT

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { chromium } from 'playwright-core';
import { browser_path, until } from './browser.mjs';

const [base, channel, player, port] = process.argv.slice(2);
const html = '<!doctype html><meta charset="utf-8"><title>elsewhere</title><video muted></video><script src="/mpegts.js"></script>';
const site = createServer((request, response) => {
  const script = request.url === '/mpegts.js';
  response.setHeader('content-type', script ? 'text/javascript' : 'text/html');
  response.end(script ? readFileSync(player) : html);
}).listen(Number(port), '127.0.0.1');
const browser = await chromium.launch({ executablePath: browser_path, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
const page = await browser.newPage();
const complaints = [];
page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
await page.goto(`http://127.0.0.1:${port}/`);

const read = (path, headers = {}) =>
  page.evaluate(
    async ([url, headers]) => {
      const stop = new AbortController();
      const response = await fetch(url, { headers, signal: stop.signal });
      const { value } = await response.body.getReader().read();
      stop.abort();
      return [response.status, value.length, value[0]];
    },
    [base + path, headers],
  );
for (const headers of [{}, { 'Icy-MetaData': '1', Range: 'bytes=0-' }]) {
  const [status, length, first] = await read(`/streams/${channel}`, headers);
  assert(status === 200 && length > 188 && first === 0x47, `${status}, ${length} bytes, the first ${first}`);
}
assert.equal((await read('/api/v1/streams'))[0], 200);
const told = await page.evaluate(
  (url) =>
    new Promise((resolve) => {
      const events = new EventSource(url);
      events.onmessage = ({ data }) => resolve(JSON.parse(data).type);
      events.onerror = () => resolve('error');
    }),
  `${base}/sse/${channel}`,
);
assert.equal(told, 'packet');

await page.evaluate((url) => {
  const element = document.querySelector('video');
  window.player = mpegts.createPlayer({ type: 'mpegts', isLive: true, url }, { isLive: true });
  window.player.attachMediaElement(element);
  window.player.on(mpegts.Events.ERROR, (...why) => console.error(`mpegts.js: ${why.join(' ')}`));
  window.player.load();
  element.play();
}, `${base.replace('http', 'ws')}/ws/${channel}?format=raw`);
const shown = () =>
  page.evaluate(() => {
    const video = document.querySelector('video');
    return [video.currentTime, video.getVideoPlaybackQuality().totalVideoFrames];
  });
await until('three seconds of film', async () => {
  const [time, frames] = await shown();
  return complaints.length > 0 || (time > 3 && frames > 50);
});
assert.deepEqual(complaints, []);
// What jsmpeg of old versions offers: Chromium gives up where nobody agrees.
const offered = await page.evaluate(
  (url) =>
    new Promise((resolve) => {
      const socket = new WebSocket(url, null);
      socket.binaryType = 'arraybuffer';
      socket.onmessage = ({ data }) => resolve([socket.protocol, new Uint8Array(data)[0]]);
      socket.onerror = () => resolve('error');
    }),
  `${base.replace('http', 'ws')}/ws/${channel}?format=raw&start=live`,
);
assert.equal(offered[0], 'null');
// Chromium offers to compress, and does so itself with what a page sends.
const [extensions, messages, closed] = await page.evaluate(
  (url) =>
    new Promise((resolve) => {
      const socket = new WebSocket(url);
      const types = [];
      let closed = false;
      socket.onopen = () => socket.send('nobody reads this '.repeat(100));
      socket.onclose = () => (closed = true);
      socket.onmessage = ({ data }) => types.push(JSON.parse(data).type);
      setTimeout(() => resolve([socket.extensions, types, closed]), 2000);
    }),
  `${base.replace('http', 'ws')}/ws/${channel}?format=json`,
);
assert(extensions.startsWith('permessage-deflate'), extensions);
assert(messages.length > 50 && messages.every((type) => type === 'packet') && !closed, `${messages.length} messages, closed: ${closed}`);
await browser.close();
site.close();
