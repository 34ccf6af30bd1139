// 64 channels that receive nothing: they stand on two screens, each says why, and another view comes within 100 ms.
//
//   node board.mjs BASE

import assert from 'node:assert/strict';
import { fits, launch, median, text, until } from './browser.mjs';

const [base] = process.argv.slice(2);
const { visit, close } = await launch(base);
const [WIDTH, HEIGHT] = [1440, 900];

const page = await visit('/', { viewport: { width: WIDTH, height: HEIGHT } });
await page.waitForFunction(() => document.querySelectorAll('.channel .name').length === 64);
await until('silence', async () => (await page.locator('.channel[data-health=silent]').count()) === 64);
assert.match(await text(page, '#answer'), /^Silence/);
const row = page.locator('.channel').first();
assert.match(await row.locator('.cause').innerText(), /no packet/i);
for (const figure of ['.rate', '.strip', '.res', '.view']) assert(!(await row.locator(figure).isVisible()), `${figure} says nothing`);
const bottom = await page.locator('.channel').evaluateAll((all) => Math.max(...all.map((row) => row.getBoundingClientRect().bottom + scrollY)));
console.log(`64 channels end ${bottom.toFixed(0)} px below the top`);
assert(bottom <= 2 * HEIGHT, `${bottom}`);
await page.evaluate(() => scrollTo(0, 1000));
const head = await page.locator('.controls').evaluate((head) => head.getBoundingClientRect().top);
assert(head >= 0 && head < 100, `the head stays: ${head}`);
await page.evaluate(() => scrollTo(0, 0));
const times = [];
for (const view of ['wall', 'rows', 'compact', 'wall', 'compact']) {
  times.push(
    await page.evaluate(async (view) => {
      const start = performance.now();
      document.getElementById(`view-${view}`).click();
      document.body.offsetHeight;
      return performance.now() - start;
    }, view),
  );
}
console.log(`another view after ${times.map((time) => time.toFixed(0)).join(', ')} ms`);
assert(median(times) < 100, `${times}`);
for (const width of [WIDTH, 820, 390]) {
  await page.setViewportSize({ width, height: HEIGHT });
  for (const view of ['rows', 'compact', 'wall']) {
    await page.locator(`#view-${view}`).click();
    await fits(page, `${view} at ${width}`);
  }
}
await close();
