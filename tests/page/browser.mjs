// What the tests of the page share: a browser that notes whatever must not happen, and waiting for what must.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

/** Longer than anything here takes on a busy machine; reaching it is a failure. */
export const PATIENCE = 30_000;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const browser_path = process.env.PATH.split(delimiter)
  .map((folder) => join(folder, 'chromium'))
  .find((path) => existsSync(path));

/** A browser, and `visit`, which opens a page of `base`. `close` fails if a page has complained or asked elsewhere. */
export async function launch(base) {
  const browser = await chromium.launch({ executablePath: browser_path, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
  const complaints = [];
  const visit = async (path, options = {}) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(`console: ${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => complaints.push(`error: ${error.stack}`));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.origin !== base && !['data:', 'blob:'].includes(url.protocol)) complaints.push(`asked ${url}`);
    });
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => console.error(`violates ${event.violatedDirective}: ${event.blockedURI}`));
    });
    await page.goto(base + path);
    return page;
  };
  const close = async () => {
    await browser.close();
    assert.deepEqual(complaints, []);
  };
  return { visit, close, complaints };
}

/** Asks again and again until the answer is not false. */
export async function until(what, ask) {
  const start = Date.now();
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert(Date.now() - start < PATIENCE, `waited in vain for ${what}`);
    await sleep(50);
  }
}

/** The middle one of some numbers. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** Nothing is wider than the window. */
export async function fits(page, what) {
  const { scroll, client, wide } = await page.evaluate(() => {
    const { scrollWidth: scroll, clientWidth: client } = document.documentElement;
    const wide = [...document.querySelectorAll('body *')]
      .filter((element) => element.getBoundingClientRect().right > client + 1 && element.checkVisibility())
      .map((element) => element.className || element.tagName);
    return { scroll, client, wide };
  });
  assert(scroll <= client, `${what}: ${scroll} wide in a window of ${client}: ${wide.slice(0, 5)}`);
}

/** The text of an element. */
export const text = (page, selector) => page.locator(selector).first().innerText();
