// The film in the page: it plays, continues, ends and starts again. Prints how long the first picture took: a player that
// waits for the next key frame waits for a second on average, on any machine.
//
//   node film.mjs BASE CHANNEL FILE

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fits, launch, median, sleep, text, until } from './browser.mjs';

const [base, channel, file] = process.argv.slice(2);
const PLAYS = 8;
const { visit, close } = await launch(base);

const page = await visit(`/#/channel/${channel}`);
const scripts = () => page.evaluate(() => performance.getEntriesByType('resource').filter((entry) => entry.name.endsWith('mpegts.js')).length);
const play = page.locator('.detail-head .primary');
await play.waitFor();
assert.equal(await scripts(), 0, 'the player is loaded when it is needed');

/** Milliseconds from the click to the first picture. */
const first_picture = async () => {
  const picture = page.evaluate(
    () =>
      new Promise((resolve) => {
        const button = document.querySelector('.detail-head .primary');
        const begin = () => {
          const start = performance.now();
          // The click's own handler runs after this one and makes the film.
          setTimeout(() => document.querySelector('.film video').requestVideoFrameCallback((now) => resolve(now - start)));
        };
        button.addEventListener('click', begin, { capture: true, once: true });
      }),
  );
  await play.click();
  return picture;
};

/** What the page hands to its player of these bytes: how many PES packets, and each PID's time stamps in their order. */
const handed = (bytes, chunk) =>
  page.evaluate(
    async ([text, chunk]) => {
      const script = performance.getEntriesByType('resource').find((entry) => entry.name.endsWith('/stream.js')).name;
      const { TransportStream } = await import(script);
      const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
      const stream = new TransportStream();
      const stamps = {};
      let packets = 0;
      for (let at = 0; at < bytes.length; at += chunk) {
        const out = stream.push(bytes.slice(at, at + chunk));
        for (let p = 0; p < out.length; p += 188) {
          packets += 1;
          const pid = ((out[p + 1] & 0x1f) << 8) | out[p + 2];
          const pes = p + (out[p + 3] & 0x20 ? 5 + out[p + 4] : 4);
          if (!(out[p + 1] & 0x40) || out[pes] || out[pes + 1] || out[pes + 2] !== 1) continue;
          const at = out[pes + 7] >> 6 === 3 ? pes + 14 : pes + 9;
          (stamps[pid] ??= []).push((out[at] & 0xe) * 2 ** 29 + out[at + 1] * 2 ** 22 + (out[at + 2] >> 1) * 2 ** 15 + out[at + 3] * 2 ** 7 + (out[at + 4] >> 1));
        }
      }
      return { packets, stamps, parts: stream.parts.map(({ name }) => name) };
    },
    [bytes.toString('base64'), chunk],
  );

async function mends_what_browsers_cannot_bear() {
  const film = readFileSync(file);
  const whole = await handed(film, film.length);
  assert.deepEqual(whole.parts, ['H.264', 'AAC']);
  const [video, audio] = Object.keys(whole.stamps);
  assert.equal(whole.stamps[video].length, 199, '8 s of 25 pictures, of which the last one has no end');
  assert.deepEqual(await handed(film, 1000), whole, 'however it is cut');

  // Without one packet in the middle of a picture, that picture is missing and nothing else.
  const pid = Number(video);
  const inside = [...Array(film.length / 188).keys()].filter((n) => ((film[n * 188 + 1] & 0x5f) << 8) + film[n * 188 + 2] === pid);
  const gone = inside[Math.floor(inside.length / 2)] * 188;
  const damaged = await handed(Buffer.concat([film.subarray(0, gone), film.subarray(gone + 188)]), 1316);
  assert.equal(damaged.stamps[video].length, whole.stamps[video].length - 1);
  assert.deepEqual(damaged.stamps[audio], whole.stamps[audio]);

  // A producer that begins anew: time goes on, for picture and sound alike.
  const twice = await handed(Buffer.concat([film, film]), 1316);
  for (const stamps of Object.values(twice.stamps)) {
    const steps = stamps.slice(1).map((stamp, index) => stamp - stamps[index]);
    assert(steps.every((step) => step > 0 && step < 90_000), `${steps.filter((step) => step <= 0 || step >= 90_000)}`);
  }
  const moved = (of) => twice.stamps[of].at(-1) - whole.stamps[of].at(-1);
  assert.equal(moved(video), moved(audio), 'they stay together');
}
await mends_what_browsers_cannot_bear();

const times = [];
for (let round = 0; round < PLAYS; round += 1) {
  times.push(await first_picture());
  await until('live', async () => /^live/.test(await text(page, '.film-status')));
  await page.keyboard.press('p');
  assert(!(await page.locator('.film').isVisible()), 'p stops it');
  // Anywhere within the time between two key frames.
  await sleep(300 + ((round * 370) % 2000));
}
const shown = times.map((time) => time.toFixed(0)).join(', ');
console.log(`first picture after ${median(times).toFixed(0)} ms (median of ${shown})`);
assert(median(times) < 1000, 'it begins with the last key frame');
assert.equal(await scripts(), 1);

await first_picture();
const state = () =>
  page.evaluate(() => {
    const video = document.querySelector('.film video');
    return { time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames, edge: video.buffered.length && video.buffered.end(video.buffered.length - 1) };
  });
const before = await state();
// The film is played in a loop of some seconds: its time stamps begin again meanwhile.
await until('ten seconds of film', async () => (await state()).time > before.time + 10);
const after = await state();
assert(after.frames > before.frames + 100, `${after.frames - before.frames} pictures in ${after.time - before.time} s`);
assert(after.edge - after.time < 5, 'it stays close to the live edge');
assert.equal(await page.locator('.film-status').innerText(), 'live');
const lines = await page.locator('.elsewhere code').allTextContents();
for (const word of ['ffplay', 'vlc', 'curl', 'playlist.m3u', `${base}/streams/${channel}`]) {
  assert(lines.some((line) => line.includes(word)), `no ${word} in ${lines}`);
}
await page.setViewportSize({ width: 390, height: 844 });
await page.locator('.elsewhere summary').click();
await fits(page, 'film');
const listed = await (await fetch(`${base}/api/v1/streams/${channel}/subscribers`)).json();
assert.equal(listed.subscribers.find(({ transport }) => transport === 'http').clients, 1);
await page.keyboard.press('Escape');
await until('the film to end with its view', async () => {
  const { subscribers } = await (await fetch(`${base}/api/v1/streams/${channel}/subscribers`)).json();
  return subscribers.find(({ transport }) => transport === 'http').clients === 0;
});
await close();
