// The page's looks before the demo: nothing that axe finds, targets for fingers, nothing that jumps; states that filter, the
// address of a channel in all its forms, the picture of the flow.
//
//   node looks.mjs BASE

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import jsQR from 'jsqr';
import { fits, launch, text, until } from './browser.mjs';

const [base] = process.argv.slice(2);
const { visit, close } = await launch(base);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const rows = (page) => page.locator('.channel').count();
const shown = (page) => page.waitForFunction(() => document.querySelectorAll('.channel .name').length > 0);

/** What axe finds wrong with what is shown. */
async function accessible(page, what) {
  // Injected by the browser's debugger: the page's own policy stays as strict as it is.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html.slice(0, 160)} (${node.failureSummary.split('\n').slice(1, 3).join(' ').trim()})`).slice(0, 3).join('\n   ')}`);
  });
  assert.deepEqual(found, [], what);
}

async function is_accessible_in_every_view() {
  for (const colorScheme of ['light', 'dark']) {
    const page = await visit('/', { colorScheme, reducedMotion: 'reduce' });
    await shown(page);
    for (const view of ['rows', 'compact', 'wall']) {
      await page.locator(`#view-${view}`).click();
      await accessible(page, `${view}, ${colorScheme}`);
    }
    await page.locator('#help-open').click();
    await accessible(page, `help, ${colorScheme}`);
    await page.keyboard.press('Escape');
    await page.locator('.channel .copy').first().click();
    await page.locator('.qr').waitFor();
    await accessible(page, `address, ${colorScheme}`);
    await page.keyboard.press('Escape');
    for (const name of await page.locator('.channel').evaluateAll((all) => all.map((row) => row.dataset.name))) {
      await page.goto(`${base}/#/channel/${name}`);
      await until('its charts', async () => (await page.locator('.chart canvas').count()) === 4);
      await accessible(page, `${name}, ${colorScheme}`);
    }
    await page.context().close();
  }
}

async function states_choose_rows() {
  const page = await visit('/');
  await shown(page);
  const all = await rows(page);
  const chips = page.locator('.chip');
  const counts = (await chips.allInnerTexts()).map((words) => parseInt(words, 10));
  assert.equal(counts.reduce((sum, count) => sum + count), all);
  const silent = chips.nth(2);
  await silent.click();
  await until('no row', async () => (await rows(page)) === 0);
  assert.match(await text(page, '#channels-none'), /^No channel is silent/);
  assert.equal(await silent.getAttribute('aria-pressed'), 'true');
  await silent.click();
  await until('all rows', async () => (await rows(page)) === all);
  await page.context().close();
}

/** What the QR code says to a phone. */
async function read_by_a_phone(page) {
  const { pixels, side } = await page.evaluate(() => {
    const code = document.querySelector('#share .qr');
    const { x, y, width } = code.viewBox.baseVal;
    const side = width * 4;
    const drawing = new OffscreenCanvas(side, side).getContext('2d');
    drawing.fillStyle = '#fff';
    drawing.fillRect(0, 0, side, side);
    drawing.scale(4, 4);
    drawing.translate(-x, -y);
    drawing.fillStyle = '#000';
    drawing.fill(new Path2D(code.querySelector('path').getAttribute('d')));
    return { pixels: [...drawing.getImageData(0, 0, side, side).data], side };
  });
  return jsQR(Uint8ClampedArray.from(pixels), side, side)?.data;
}

async function tells_how_to_reach_a_channel() {
  const page = await visit('/');
  await shown(page);
  const lines = async (name) => {
    await page.locator(`.channel[data-name="${name}"] .copy`).click();
    await page.locator('#share .qr').waitFor();
    assert.equal(await read_by_a_phone(page), await text(page, '.share-url'));
    const all = [await text(page, '.share-url'), ...(await page.locator('#share code').allTextContents())].join('\n');
    await page.keyboard.press('Escape');
    return all;
  };
  const names = await page.locator('.channel').evaluateAll((all) => all.map((row) => row.dataset.name));
  const film = await lines(names.find((name) => !/sensor/.test(name)));
  for (const word of [`${base}/streams/`, 'vlc', 'ffplay', 'mpv', 'curl', 'mpegts', 'urllib', 'playlist.m3u']) assert(film.includes(word), `no ${word}: ${film}`);
  const sensors = await lines(names.find((name) => /sensor/.test(name)));
  for (const word of [`${base}/sse/`, 'curl', 'EventSource', 'urllib', 'format=json']) assert(sensors.includes(word), `no ${word}: ${sensors}`);
  await page.context().close();
}

/** A tile of the wall plays while the pointer rests on it, and no longer. */
async function plays_on_the_wall() {
  const page = await visit('/');
  await shown(page);
  await page.locator('#view-wall').click();
  const tile = page.locator('.channel:has(.play:not([hidden])) .thumb').first();
  await tile.hover();
  const plays = () => page.evaluate(() => document.querySelector('.thumb video')?.currentTime > 0);
  await until('a tile that plays', plays);
  await page.locator('#search').hover();
  assert.equal(await page.locator('.thumb video').count(), 0);
  await page.context().close();
}

async function draws_the_flow() {
  const page = await visit('/');
  await shown(page);
  const picture = page.locator('#picture svg');
  const words = () => picture.getAttribute('aria-label');
  await until('what comes in', async () => /^[\d.]+\s[kMG]?bit\/s come in\. Rescued/.test(await words()));
  assert(await page.locator('#picture .ribbon-in').count(), 'inputs');
  await until('what was lost', async () => /lost: [1-9]/.test(await words()));
  const moving = () => picture.locator('.pulse').first().evaluate((pulse) => getComputedStyle(pulse).animationName);
  assert.notEqual(await moving(), 'none');
  await page.emulateMedia({ reducedMotion: 'reduce' });
  assert.equal(await moving(), 'none', 'it is still for those who ask for that');
  await page.context().close();
}

async function returns_to_the_row_and_to_the_systems_theme() {
  const page = await visit('/', { colorScheme: 'dark' });
  await shown(page);
  const [name] = await page.locator('.channel').evaluateAll((all) => all.map((row) => row.dataset.name).slice(-1));
  await page.locator(`.channel[data-name="${name}"] .name`).focus();
  await page.keyboard.press('Enter');
  await page.locator('#detail-name').waitFor();
  await page.keyboard.press('Escape');
  await until('the row', () => page.evaluate((name) => document.activeElement.closest('.channel')?.dataset.name === name, name));
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme ?? 'system');
  const seen = [];
  for (let presses = 0; presses < 3; presses += 1) {
    await page.keyboard.press('t');
    seen.push(await theme());
  }
  assert.deepEqual(seen, ['light', 'dark', 'system']);
  await page.context().close();
}

/** Fingers need 44 px, but for links within a line (WCAG 2.2, 2.5.8). */
async function is_made_for_fingers() {
  const page = await visit('/', { viewport: { width: 390, height: 844 }, hasTouch: true });
  await shown(page);
  for (const path of ['/', '/#/channel/sensors']) {
    await page.goto(base + path);
    await page.waitForFunction(() => document.querySelector('.channel, .chart canvas'));
    const small = await page.evaluate(() =>
      [...document.querySelectorAll('button, .button, select, input, summary')]
        .filter((element) => element.checkVisibility() && !element.closest('.flow-head, #help, #share'))
        .map((element) => ({ box: element.getBoundingClientRect(), html: element.outerHTML.slice(0, 100) }))
        .filter(({ box }) => box.width < 44 || box.height < 44)
        .map(({ box, html }) => `${box.width} x ${box.height}: ${html}`),
    );
    assert.deepEqual(small, [], path);
    await fits(page, path);
  }
  await page.context().close();
}

/** The first row soon, nothing that jumps, and an answer to a key at once. */
async function keeps_its_budget() {
  const page = await visit('/healthz');
  await page.addInitScript(() => {
    window.shifts = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        if (entry.hadRecentInput) continue;
        window.shifts += entry.value;
        window.moved = [...(window.moved ?? []), ...entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 80))];
      }
    }).observe({ type: 'layout-shift', buffered: true });
  });
  await page.goto(`${base}/`);
  await shown(page);
  const first = await page.evaluate(() => performance.now());
  await until('two more messages', () => page.evaluate(() => performance.getEntriesByName('tick').length > 2));
  const shifts = await page.evaluate(() => window.shifts);
  const took = await page.evaluate(async () => {
    const start = performance.now();
    document.getElementById('view-compact').click();
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    return performance.now() - start;
  });
  console.log(`first row after ${first.toFixed(0)} ms, another view after ${took.toFixed(0)} ms, layout shift ${shifts.toFixed(3)}`);
  assert(shifts < 0.1, `${shifts}: ${await page.evaluate(() => window.moved?.join('\n'))}`);
  await page.context().close();
}

async function is_installable() {
  const page = await visit('/');
  const href = await page.locator('link[rel=manifest]').evaluate((link) => link.href);
  const response = await fetch(href);
  assert.match(response.headers.get('content-type'), /^application\/manifest\+json/);
  const manifest = await response.json();
  assert.equal(new URL(manifest.start_url, href).href, `${base}/`);
  for (const { src } of manifest.icons) assert((await fetch(new URL(src, href))).ok, src);
  await page.context().close();
}

await states_choose_rows();
await tells_how_to_reach_a_channel();
await draws_the_flow();
await plays_on_the_wall();
await returns_to_the_row_and_to_the_systems_theme();
await is_made_for_fingers();
await is_installable();
await keeps_its_budget();
await is_accessible_in_every_view();
await close();
