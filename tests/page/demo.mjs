// The page before the demo: what a first visitor sees, on a desk, in a hand, and with the keyboard alone.
//
//   node demo.mjs BASE

import assert from 'node:assert/strict';
import { fits, launch, sleep, text, until } from './browser.mjs';

const [base] = process.argv.slice(2);
const { visit, close } = await launch(base);
const CHANNELS = ['film-asked-again', 'film-fec', 'film-two-paths', 'film-unprotected', 'sensors'];

/** All channels, in whatever order; how long it took from the beginning of the page. */
async function shows_the_channels(page) {
  await page.waitForFunction(() => document.querySelectorAll('.channel .name').length === 5);
  const took = await page.evaluate(() => performance.now());
  assert((await page.evaluate(() => performance.getEntriesByName('tick').length)) <= 2, 'they come with the first message');
  const names = await page.locator('.channel .name').allInnerTexts();
  assert.deepEqual(names.sort(), CHANNELS);
  console.log(`channels after ${took.toFixed(0)} ms`);
}

async function answers_whether_anything_is_lost(page) {
  // The demo's link loses 1 %, and nothing protects film-unprotected.
  await until('a loss', async () => /lost/.test(await text(page, '#answer')));
  const row = page.locator('.channel[data-name="film-unprotected"]');
  await until('its verdict', async () => (await row.getAttribute('data-health')) === 'degraded');
  assert.match(await row.locator('.more').innerText(), /^[\d.]+ % of the packets were lost within the last minute$/);
  assert.match(await row.locator('.strip').getAttribute('aria-label'), /^loss in \d+ of the last/);
  // The first one may be a packet that others overtook by more than the hold.
  const parts = () => row.locator('.res').getAttribute('title');
  await until('a loss on the network', async () => /received [\d,]+, .*lost on the network [1-9]/.test(await parts()));
  const rows = await page.locator('.channel').evaluateAll((rows) =>
    rows.map((row) => ({ health: ['ok', 'degraded', 'silent'].indexOf(row.dataset.health), lost: parseFloat(row.querySelector('.more:not(.address)')?.textContent) || 0 })),
  );
  // Losses within half an order of magnitude are equal, so that rows stay where they are.
  const after = (a, b) => a.health > b.health || (a.health === b.health && b.lost < 3.3 * Math.max(a.lost, 0.001));
  assert(rows.slice(1).every((row, index) => after(rows[index], row)), `the worst comes first: ${JSON.stringify(rows)}`);
  const events = () => page.locator('.event').allInnerTexts();
  const told = (event) => /film-unprotected\s+lost \d+ packets?/.test(event) && /second path/.test(event);
  await until('an event with what to do', async () => (await events()).some(told));
}

async function moves(page) {
  const shown = () => page.locator('.channel[data-name="sensors"] .strip-line').getAttribute('d');
  const before = await shown();
  await until('a strip that moves', async () => (await shown()) !== before);
}

async function freezes(page) {
  const summary = () => text(page, '#facts');
  await page.keyboard.press('f');
  const before = await summary();
  await sleep(2500);
  assert.equal(await summary(), before, 'nothing moves while it is frozen');
  assert.match(await text(page, '#live'), /frozen at/);
  await page.keyboard.press('f');
  await until('it to go on', async () => (await summary()) !== before);
}

async function searches(page) {
  await page.keyboard.press('/');
  await page.keyboard.type('sens');
  await until('one row', async () => (await page.locator('.channel').count()) === 1);
  assert.equal(await text(page, '.channel .name'), 'sensors');
  await page.keyboard.press('Escape');
  await until('all rows', async () => (await page.locator('.channel').count()) === CHANNELS.length);
  await page.keyboard.press('Escape');
}

async function readings_and_charts_move(page) {
  await page.goto(`${base}/#/channel/sensors`);
  const reading = () => page.locator('.flow-body .words').allInnerTexts();
  const first = await until('readings', async () => (await reading()).filter(Boolean).length === 8 && reading());
  assert(first.some((words) => /^temp-0 -?[\d.]+ C$/.test(words)), first.join());
  await until('other readings', async () => (await reading()).join() !== first.join());
  await until('a line', async () => (await page.locator('.spark .line').first().getAttribute('d'))?.includes('L'));
  const chart = () => page.locator('.chart-box').first().getAttribute('aria-label');
  const before = await until('a chart', chart);
  await until('a chart that moves', async () => (await chart()) !== before);
  assert.equal(await page.locator('.chart canvas').count(), 4);
  const points = () => page.evaluate(() => [...document.querySelectorAll('.chart canvas')].map((canvas) => canvas.toDataURL().length));
  const drawn = (await points()).join();
  await until('a canvas that moves', async () => (await points()).join() !== drawn);
}

async function has_a_past_for_a_fresh_page() {
  const page = await visit('/#/channel/sensors');
  const history = await (await page.request.get(`${base}/api/v1/history?channel=sensors`)).json();
  assert(history.times.length >= 5, `${history.times.length} samples`);
  await until('the charts', async () => (await page.locator('.chart canvas').count()) === 4);
  await page.context().close();
}

async function opens_a_flow(page) {
  await page.keyboard.press('/');
  await page.keyboard.type('127.0.0.1');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await until('its reading', async () => /\d/.test(await text(page, '.big-value')));
  assert.equal(await text(page, '.one-flow h2'), 'Flow 2');
  await until('its chart', async () => (await page.locator('.one-flow canvas').count()) === 1);
  await page.keyboard.press('Escape');
  await until('it to close', async () => !(await page.locator('.one-flow').isVisible()));
  await page.keyboard.press('Escape');
  await until('the channels', async () => page.locator('#overview').isVisible());
}

/** Every element that can be used is reached by Tab, and shows that it is. */
async function tab_reaches_everything(page, what) {
  await page.evaluate(() => {
    document.activeElement?.blur();
    scrollTo(0, 0);
    const usable = 'a[href], button, input, select, summary, video, [tabindex="0"]';
    window.unreached = new Set([...document.querySelectorAll(usable)].filter((element) => element.checkVisibility({ checkVisibilityCSS: true })));
  });
  for (let presses = 0; presses < 200; presses += 1) {
    await page.keyboard.press('Tab');
    const left = await page.evaluate(() => {
      const focused = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(focused);
      const visible = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1;
      if (window.unreached.delete(focused) && !visible && focused.tagName !== 'VIDEO') throw new Error(`no outline: ${focused.outerHTML.slice(0, 120)}`);
      // Rows may have gone meanwhile.
      for (const element of window.unreached) if (!element.isConnected || !element.checkVisibility()) window.unreached.delete(element);
      return window.unreached.size;
    });
    if (left === 0) return;
  }
  const left = await page.evaluate(() => [...window.unreached].map((element) => element.outerHTML.slice(0, 120)));
  assert.fail(`${what}: Tab never came to ${left.join('\n')}`);
}

async function works_with_the_keyboard_alone() {
  const page = await visit('/');
  await shows_the_channels(page);
  await tab_reaches_everything(page, 'channels');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('j');
  const first = await page.evaluate(() => document.activeElement.textContent);
  await page.keyboard.press('j');
  const second = await page.evaluate(() => document.activeElement.textContent);
  assert.notEqual(first, second);
  await page.keyboard.press('k');
  await page.keyboard.press('Enter');
  await until('the detail', () => page.locator('#detail-name').isVisible());
  await until('its charts', async () => (await page.locator('.chart canvas').count()) === 4);
  await tab_reaches_everything(page, 'detail');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('Escape');
  await until('the channels', () => page.locator('#overview').isVisible());
  await page.keyboard.press('?');
  assert(await page.locator('#help').isVisible());
  await page.keyboard.press('Escape');
  assert(!(await page.locator('#help').isVisible()));
  await page.keyboard.press('t');
  const theme = await page.evaluate(() => document.documentElement.dataset.theme);
  await page.reload();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme, 'the choice is kept');
  await page.context().close();
}

async function fits_into_a_hand() {
  for (const colorScheme of ['light', 'dark']) {
    const page = await visit('/', { viewport: { width: 390, height: 844 }, colorScheme, hasTouch: true });
    await shows_the_channels(page);
    await fits(page, 'channels');
    await page.locator('#help-open').click();
    await fits(page, 'help');
    await page.keyboard.press('Escape');
    for (const name of CHANNELS) {
      await page.goto(`${base}/#/channel/${name}`);
      await until('its charts', async () => (await page.locator('.chart canvas').count()) === 4);
      await fits(page, name);
    }
    await page.goto(`${base}/#/channel/nothing`);
    await until('that it is not there', () => page.getByText('There is no such channel').isVisible());
    await fits(page, 'no channel');
    await page.context().close();
  }
}

/** In the page: says that it is hidden, or not. */
function set_hidden(hidden) {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}

async function waits_in_the_background_until_it_is_shown() {
  const page = await visit('/healthz');
  await page.addInitScript(set_hidden, true);
  const asked = [];
  page.on('request', (request) => request.url().includes('/api/v1/live') && asked.push(request.url()));
  await page.goto(`${base}/`);
  await until('it to pause', async () => /paused/.test(await text(page, '#live')));
  await sleep(500);
  assert.deepEqual(asked, [], 'nobody sees it');
  await page.evaluate(set_hidden, false);
  await page.waitForFunction(() => document.querySelectorAll('.channel .name').length === 5);
  await page.context().close();
}

async function rests_while_hidden(page) {
  const hide = (hidden) => page.evaluate(set_hidden, hidden);
  const ticks = () => page.evaluate(() => performance.getEntriesByName('tick').length);
  await hide(true);
  assert.match(await text(page, '#live'), /paused/);
  const before = await ticks();
  await sleep(2500);
  assert.equal(await ticks(), before, 'a hidden page gets nothing');
  const asked = page.waitForRequest((request) => request.url().includes('/api/v1/live'));
  await hide(false);
  assert.match((await asked).url(), /since=\d+-\d+-\d+/, 'it goes on where it was');
  await until('a message', async () => (await ticks()) > before);
}

/** Whatever the page asks for is readable in a terminal. */
async function answers_curl_in_text(page) {
  const urls = await page.evaluate(() => performance.getEntriesByType('resource').map((entry) => entry.name));
  const links = await page.locator('a[href^="/"]').evaluateAll((all) => all.map((link) => link.href));
  for (const url of new Set([`${base}/`, ...urls, ...links])) {
    if (url.includes('/streams/') && !url.includes('/api/')) continue;
    const abort = new AbortController();
    const response = await fetch(url, { headers: { accept: '*/*' }, signal: abort.signal });
    const type = response.headers.get('content-type');
    assert(response.ok, `${url}: ${response.status}`);
    assert.match(type, /^text\/(plain|css|csv|javascript|event-stream)|^application\/(manifest\+)?json|^image\/svg\+xml/, url);
    abort.abort();
  }
}

const page = await visit('/');
await shows_the_channels(page);
await answers_whether_anything_is_lost(page);
await moves(page);
await freezes(page);
await searches(page);
await rests_while_hidden(page);
await waits_in_the_background_until_it_is_shown();
await readings_and_charts_move(page);
await has_a_past_for_a_fresh_page();
await answers_curl_in_text(page);
await opens_a_flow(page);
await page.context().close();
await works_with_the_keyboard_alone();
await fits_into_a_hand();
await close();
