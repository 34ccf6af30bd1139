// A channel of 1,000 sensors: one of them is found, all can be scrolled to, and a tick costs little.
//
//   node flows.mjs BASE CHANNEL COUNT

import assert from 'node:assert/strict';
import { fits, launch, median, text, until } from './browser.mjs';

const [base, channel, count] = process.argv.slice(2);
const { visit, close } = await launch(base);
const TICKS = 15;

const page = await visit(`/#/channel/${channel}`);
const rows = page.locator('.flow-body .flow-row:visible');
const shown = () => page.locator('.flows .section-head [role=status]').innerText();
await until('all flows', async () => (await shown()) === Number(count).toLocaleString('en'));
assert((await rows.count()) <= 60, 'rows that nobody sees are not drawn');

// Messages hold only what is seen.
const sizes = await page.evaluate(
  () =>
    new Promise((resolve) => {
      const all = [];
      const source = new EventSource('/api/v1/live?channel=' + location.hash.split('/').at(-1) + '&flow_limit=40');
      source.onmessage = (event) => {
        all.push(event.data.length);
        if (all.length === 3) resolve(source.close() ?? all);
      };
    }),
);
assert(sizes[2] < 40_000, `${sizes} bytes`);

// The main thread's work for a message: the page's own code, then the styles and layout that it caused.
await page.evaluate(() => {
  performance.clearMeasures('tick');
  window.layouts = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.name !== 'tick') continue;
      const start = performance.now();
      document.body.offsetHeight;
      window.layouts.push(entry.duration + performance.now() - start);
    }
  }).observe({ type: 'measure' });
});
await until('ticks', () => page.evaluate((ticks) => window.layouts.length >= ticks, TICKS));
const ticks = await page.evaluate(() => window.layouts);
console.log(`a tick with ${count} flows: ${median(ticks).toFixed(1)} ms (median of ${ticks.map((tick) => tick.toFixed(1)).join(', ')})`);
assert(median(ticks) < 16, `${ticks}`);

// One of them, by its id.
const wanted = Math.floor(count * 0.777);
await page.keyboard.press('/');
await page.keyboard.type(String(wanted));
await until('it to be found', async () => (await rows.count()) > 0 && (await text(page, '.flow-body .flow-row:visible .flow')) === String(wanted));
assert.match(await shown(), /found$/);
await page.keyboard.press('Escape');
await until('all again', async () => (await shown()) === Number(count).toLocaleString('en'));
await page.keyboard.press('Escape');

// The last one, by scrolling.
await page.locator('.flow-scroll').evaluate((scroller) => (scroller.scrollTop = scroller.scrollHeight));
await until('the last one', async () => (await rows.locator('.flow').allInnerTexts()).includes(count));
await until('its reading', async () => {
  const last = rows.filter({ has: page.locator(`.flow:text-is("${count}")`) });
  return (await last.count()) === 1 && (await last.locator('.words').innerText()) !== '';
});

// The most packets first, and the other way round.
const head = page.locator('.flow-head');
await head.getByRole('button', { name: 'Source' }).click();
await until('the order', async () => (await head.locator('.source').getAttribute('aria-sort')) === 'ascending');
await head.getByRole('button', { name: 'Flow' }).click();
await until('the lowest id', async () => (await rows.first().locator('.flow').innerText()) === '1');
await head.getByRole('button', { name: 'Flow' }).click();
await until('the highest id', async () => (await rows.locator('.flow').allInnerTexts()).includes(count));
assert.equal(await head.locator('.flow').getAttribute('aria-sort'), 'descending');

// With the keys, beyond what is drawn.
await head.getByRole('button', { name: 'Flow' }).click();
await until('the lowest id', async () => (await rows.first().locator('.flow').innerText()) === '1');
await page.evaluate(() => document.activeElement.blur());
for (let presses = 0; presses < 100; presses += 1) await page.keyboard.press('j');
await until('row 100', () => page.evaluate(() => document.activeElement.querySelector?.('.flow')?.textContent === '100'));
await page.setViewportSize({ width: 390, height: 844 });
await fits(page, 'flows');
const csv = await (await fetch(`${base}/api/v1/streams/${channel}/flows?format=csv&limit=10000`)).text();
assert.equal(csv.trim().split('\r\n').length, Number(count) + 1);
await close();
