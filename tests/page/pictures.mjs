// Makes the pictures of docs/images: relays on loopback, with good and bad links, and the page before them.
//
//   node pictures.mjs PROGRAM FOLDER
//   node pictures.mjs PROGRAM FOLDER all [NAME]...
//
// PROGRAM is a built tidecast; ffmpeg makes the film. With `all` it makes each view in each state, for a desk, a tablet and a phone,
// light and dark, to be looked at one by one; or those of these names.

import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch, sleep, until } from './browser.mjs';

const [program, folder, all, ...only] = process.argv.slice(2);
const SCHEMES = ['light', 'dark'];
const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const SIZES = { 1440: DESK, 820: { width: 820, height: 1180 }, 390: PHONE };
const PORT = 17_600;
const work = mkdtempSync(join(tmpdir(), 'pictures-'));
const running = [];
const relays = new Map();
const ended = new AbortController();
let heardBytes = 0;

function run(...args) {
  const child = spawn(program, args, { stdio: 'ignore' });
  running.push(child);
  return child;
}
const group = (number) => `udp://239.255.76.${number}:${PORT}?if=127.0.0.1&ttl=0`;
const heard = (number) => `udp://@239.255.76.${number}:${PORT}?if=127.0.0.1`;
const channel = (name, more) => `[[channel]]\nname = "${name}"\n${more}\n`;

function film(name, source) {
  const path = join(work, `${name}.ts`);
  const video = ['-c:v', 'libx264', '-preset', 'veryfast', '-pix_fmt', 'yuv420p', '-g', '50', '-b:v', '1500k', '-maxrate', '1500k', '-bufsize', '700k'];
  execFileSync('ffmpeg', ['-nostdin', '-loglevel', 'error', '-f', 'lavfi', '-i', source, '-t', '20', ...video, '-f', 'mpegts', '-muxrate', '2000k', path]);
  return path;
}

/** Dialogs stand before a page that cannot be scrolled. */
const OPEN = new Set(['share', 'help', 'ask']);

/** A relay of these channels, and where it listens. */
function serve(name, http, channels) {
  const config = join(work, `${name}.toml`);
  writeFileSync(config, `[http]\nlisten = "127.0.0.1:${http}"\ncontrol = true\n${channels.join('')}`);
  relays.set(name, run('serve', '--config', config));
  return `http://127.0.0.1:${http}`;
}

/** From a sender through a link that loses to groups. */
function link(from, loss, seed, ...to) {
  run('impair', heard(from), ...to.flatMap((number) => ['--to', group(number)]), '--loss', loss, '--seed', String(seed));
}

/** Somebody who reads a stream until all ends. */
async function listen(url) {
  try {
    for await (const part of (await fetch(url, { signal: ended.signal })).body) heardBytes += part.length;
  } catch (error) {
    if (!ended.signal.aborted) throw error;
  }
}

/** A few channels, each with another fate. */
function few() {
  const base = serve('few', PORT + 1, [
    channel('news', `input = ["${heard(11)}", "${heard(12)}"]\nformat = "native"`),
    channel('sport', `input = "${heard(13)}"\nformat = "native"\noutput = "${group(21)}"`),
    channel('camera-yard', `input = "${heard(14)}"\nformat = "native"`),
    channel('weather', `input = "${heard(15)}"\nformat = "native"`),
    channel('radio-7', `input = "${heard(16)}"`),
  ]);
  link(1, '0.4%', 1, 11);
  link(1, '0.3%', 2, 12);
  link(2, '2%', 3, 13);
  link(3, '0.6%', 4, 14);
  link(4, '1.5%', 5, 15);
  run('send', '--file', film('news', 'gradients=size=640x360:rate=25:c0=0x0f766e:c1=0x1e3a8a:c2=0x7c3aed:n=3:speed=0.02'), '--loop', '--format', 'native', group(1));
  run('send', '--file', film('sport', 'mandelbrot=size=640x360:rate=25:start_scale=0.6'), '--loop', '--format', 'native', '--fec', '10,4', group(2));
  run('send', '--file', film('camera', 'life=size=640x360:rate=25:mold=10:life_color=0xf59e0b:death_color=0x7c2d12:mold_color=0x451a03'), '--loop', '--format', 'native', group(3));
  run('send', '--sensor', '8', '--interval', '50ms', '--fec', '8,3', group(4));
  return base;
}

/** The same channels, of which nothing is lost. */
function healthy() {
  return serve('healthy', PORT + 4, [
    channel('news', `input = "${heard(1)}"\nformat = "native"`),
    channel('sport', `input = "${heard(2)}"\nformat = "native"`),
    channel('camera-yard', `input = "${heard(3)}"\nformat = "native"`),
    channel('weather', `input = "${heard(4)}"\nformat = "native"`),
  ]);
}

/** Channels to which nobody sends. */
const silent = () => serve('silent', PORT + 5, ['news', 'sport', 'radio-7'].map((name, index) => channel(name, `input = "${heard(101 + index)}"`)));

/** 64 channels, most of them well. */
function many() {
  const names = Array.from({ length: 64 }, (_, index) => index + 30);
  const base = serve('many', PORT + 2, names.map((number) => channel(`channel-${String(number - 29).padStart(2, '0')}`, `input = "${heard(number)}"\nformat = "native"`)));
  link(4, '1%', 6, ...names.slice(0, 20));
  link(3, '0.2%', 7, ...names.slice(20, 26));
  link(2, '0%', 8, ...names.slice(26, 60));
  return base;
}

function thousand() {
  run('send', '--sensor', '1000', '--interval', '1s', group(9));
  return serve('thousand', PORT + 3, [channel('sensors', `input = "${heard(9)}"\nformat = "native"`)]);
}

async function shoot(browser, path, name, { size = DESK, schemes = SCHEMES, act } = {}) {
  for (const colorScheme of schemes) {
    const page = await browser.visit(path, { viewport: size, colorScheme, reducedMotion: 'reduce', hasTouch: size === PHONE });
    await page.waitForFunction(() => !document.body.hasAttribute('data-waiting'));
    await act?.(page);
    await sleep(1500);
    const path_of = (more) => join(folder, `${name}-${colorScheme}${more}.png`);
    await page.screenshot({ path: path_of('') });
    if (all && !OPEN.has(name.split('-')[0])) await page.screenshot({ path: path_of('-whole'), fullPage: true });
    await page.context().close();
  }
}

/** Fewer colours: half the size, and nobody sees it but in films. */
function shrink(name) {
  for (const scheme of SCHEMES) {
    const path = join(folder, `${name}-${scheme}.png`);
    const small = join(work, 'small.png');
    execFileSync('ffmpeg', ['-nostdin', '-loglevel', 'error', '-y', '-i', path, '-vf', 'split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none', small]);
    copyFileSync(small, path);
  }
}

const click = (selector) => (page) => page.locator(selector).first().click();
const charts = (page) => until('the charts', async () => (await page.locator('.chart canvas').count()) >= 4);

const film_plays = (page) => until('the film', async () => /^live/.test(await page.locator('.film-status').innerText()));
const scrolls = (selector, place = 0) => (page) => page.locator(selector).nth(place).scrollIntoViewIfNeeded();
const opens_a_flow = async (page) => {
  await page.locator('.flow-body .flow-row').nth(2).click();
  await until('a line', async () => (await page.locator('.one-flow canvas').count()) === 1);
};
/** Asks whether to disconnect the first client. */
const asks = async (page) => {
  const button = page.locator('[aria-label="Clients"] td button').first();
  await button.scrollIntoViewIfNeeded();
  await button.click();
};

/** Every view in every state. */
async function matrix(some, board, flows) {
  const [well, quiet, empty] = [healthy(), silent(), serve('empty', PORT + 6, [])];
  await sleep(65_000);
  const views = [
    [well, '/', 'healthy'],
    [some, '/', 'losing'],
    [some, '/', 'wall', click('#view-wall')],
    [some, '/', 'compact', click('#view-compact')],
    [some, '/', 'search', (page) => page.locator('#search').fill('nothing')],
    [some, '/', 'frozen', (page) => page.keyboard.press('f')],
    [some, '/', 'share', click('.channel[data-name=news] .copy')],
    [some, '/', 'help', click('#help-open')],
    [some, '/#/channel/news', 'detail', charts],
    [some, '/#/channel/sport?play', 'film', film_plays],
    [some, '/#/channel/news', 'ask', asks],
    [some, '/#/channel/news', 'reset', async (page) => charts(page).then(() => page.keyboard.press('r'))],
    [some, '/#/channel/radio-7', 'quiet'],
    [some, '/#/channel/nothing', 'missing'],
    [quiet, '/', 'silent'],
    [empty, '/', 'empty'],
    [board, '/', 'many'],
    [flows, '/#/channel/sensors', 'thousand', opens_a_flow],
  ];
  const browsers = new Map();
  const wanted = (name) => only.length === 0 || only.includes(name);
  for (const [base, path, name, act] of views.filter(([, , name]) => wanted(name))) {
    if (!browsers.has(base)) browsers.set(base, await launch(base));
    for (const [width, size] of Object.entries(SIZES)) await shoot(browsers.get(base), path, `${name}-${width}`, { size, act });
  }
  const stops = async (page) => {
    relays.get('healthy').kill('SIGSTOP');
    await until('a banner', () => page.locator('#banner').isVisible());
    await sleep(3000);
  };
  const before = browsers.get(well) ?? (await launch(well));
  browsers.set(well, before);
  for (const [width, size] of wanted('stale') ? Object.entries(SIZES) : []) {
    for (const scheme of SCHEMES) {
      await shoot(before, '/', `stale-${width}`, { size, schemes: [scheme], act: stops });
      relays.get('healthy').kill('SIGCONT');
    }
  }
  for (const browser of browsers.values()) await browser.close().catch((error) => console.log(error.message));
}

async function main() {
  const [some, board, flows] = [few(), many(), thousand()];
  await sleep(3000);
  for (const path of ['streams/news', 'streams/news', 'streams/sport', 'streams/camera-yard', 'sse/weather', 'sse/weather']) listen(`${some}/${path}`);
  for (const path of ['streams/channel-21', 'streams/channel-30', 'streams/channel-40', 'sse/channel-01']) listen(`${board}/${path}`);
  if (all) return matrix(some, board, flows);
  const quiet = silent();
  await sleep(65_000); // A whole minute has been seen.
  let browser = await launch(some);
  await shoot(browser, '/', 'channels');
  await shoot(browser, '/', 'wall', { act: click('#view-wall') });
  await shoot(browser, '/', 'share', { act: click('.channel[data-name=news] .copy') });
  await shoot(browser, '/', 'help', { act: click('#help-open') });
  await shoot(browser, '/#/channel/news', 'detail', { act: charts });
  await shoot(browser, '/#/channel/sport?play', 'film', { act: film_plays });
  await shoot(browser, '/#/channel/news', 'clients', { act: scrolls('.small-table', 3) });
  await shoot(browser, '/', 'phone-channels', { size: PHONE });
  await shoot(browser, '/#/channel/news', 'phone-detail', { size: PHONE, act: charts });
  await shoot(browser, '/#/channel/weather', 'phone-flows', { size: PHONE, act: scrolls('.flows') });
  await browser.close();
  browser = await launch(board);
  await shoot(browser, '/', 'board');
  await browser.close();
  browser = await launch(flows);
  await shoot(browser, '/#/channel/sensors', 'flows', { act: opens_a_flow });
  await browser.close();
  browser = await launch(quiet);
  await shoot(browser, '/', 'silent');
  await browser.close();
  for (const name of ['channels', 'share', 'help', 'detail', 'clients', 'phone-channels', 'phone-detail', 'phone-flows', 'board', 'flows', 'silent']) shrink(name);
}

try {
  await main();
} finally {
  ended.abort();
  for (const child of running) child.kill();
  rmSync(work, { recursive: true });
}
