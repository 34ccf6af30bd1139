// Makes the pictures of docs/images: relays on loopback, with good and bad links, and the page before them.
//
//   node pictures.mjs PROGRAM FOLDER
//
// PROGRAM is a built tidecast; ffmpeg makes the film.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch, sleep, until } from './browser.mjs';

const [program, folder] = process.argv.slice(2);
const SCHEMES = ['light', 'dark'];
const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const PORT = 17_600;
const work = mkdtempSync(join(tmpdir(), 'pictures-'));
const running = [];
const ended = new AbortController();
let heardBytes = 0;

const run = (...args) => running.push(spawn(program, args, { stdio: 'ignore' }));
const group = (number) => `udp://239.255.76.${number}:${PORT}?if=127.0.0.1&ttl=0`;
const heard = (number) => `udp://@239.255.76.${number}:${PORT}?if=127.0.0.1`;
const channel = (name, more) => `[[channel]]\nname = "${name}"\n${more}\n`;

function film(name, source) {
  const path = join(work, `${name}.ts`);
  const video = ['-c:v', 'libx264', '-preset', 'veryfast', '-pix_fmt', 'yuv420p', '-g', '50', '-b:v', '1500k', '-maxrate', '1500k', '-bufsize', '700k'];
  execFileSync('ffmpeg', ['-nostdin', '-loglevel', 'error', '-f', 'lavfi', '-i', source, '-t', '20', ...video, '-f', 'mpegts', '-muxrate', '2000k', path]);
  return path;
}

/** A relay of these channels, and where it listens. */
function serve(name, http, channels) {
  const config = join(work, `${name}.toml`);
  writeFileSync(config, `[http]\nlisten = "127.0.0.1:${http}"\n${channels.join('')}`);
  run('serve', '--config', config);
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
    await page.waitForFunction(() => document.querySelector('.channel .name, .flow-row'));
    await act?.(page);
    await sleep(1500);
    await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`) });
    await page.context().close();
  }
}

const click = (selector) => (page) => page.locator(selector).first().click();
const charts = (page) => until('the charts', async () => (await page.locator('.chart canvas').count()) >= 4);

async function main() {
  const [some, board, flows] = [few(), many(), thousand()];
  await sleep(3000);
  for (const path of ['streams/news', 'streams/news', 'streams/sport', 'streams/camera-yard', 'sse/weather', 'sse/weather']) listen(`${some}/${path}`);
  for (const path of ['streams/channel-21', 'streams/channel-30', 'streams/channel-40', 'sse/channel-01']) listen(`${board}/${path}`);
  await sleep(65_000); // A whole minute has been seen.
  let browser = await launch(some);
  await shoot(browser, '/', 'channels');
  await shoot(browser, '/', 'wall', { act: click('#view-wall') });
  await shoot(browser, '/', 'share', { act: click('.channel[data-name=news] .copy') });
  await shoot(browser, '/', 'help', { act: click('#help-open') });
  await shoot(browser, '/#/channel/news', 'detail', { act: charts });
  await shoot(browser, '/#/channel/sport?play', 'film', { act: (page) => until('the film', async () => /^live/.test(await page.locator('.film-status').innerText())) });
  await shoot(browser, '/#/channel/news', 'clients', { act: (page) => page.locator('.small-table').nth(3).scrollIntoViewIfNeeded() });
  await shoot(browser, '/', 'phone-channels', { size: PHONE });
  await shoot(browser, '/#/channel/news', 'phone-detail', { size: PHONE, act: charts });
  await shoot(browser, '/#/channel/weather', 'phone-flows', { size: PHONE, act: (page) => page.locator('.flows').scrollIntoViewIfNeeded() });
  await browser.close();
  browser = await launch(board);
  await shoot(browser, '/', 'board');
  await browser.close();
  browser = await launch(flows);
  await shoot(browser, '/#/channel/sensors', 'flows', {
    act: async (page) => {
      await page.locator('.flow-body .flow-row').nth(2).click();
      await until('a line', async () => (await page.locator('.one-flow canvas').count()) === 1);
    },
  });
  await browser.close();
}

try {
  await main();
} finally {
  ended.abort();
  for (const child of running) child.kill();
  rmSync(work, { recursive: true });
}
