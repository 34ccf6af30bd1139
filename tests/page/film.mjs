// The film in the page: it plays, goes on, ends and begins again. Prints how long the first picture took.
//
//   node film.mjs BASE CHANNEL SENSORS

import assert from 'node:assert/strict';
import { fits, launch, median, sleep, text, until } from './browser.mjs';

const [base, channel] = process.argv.slice(2);
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
