// Opens a page in a browser, as a reader does, and prints what it shows a moment later.

import { chromium } from 'playwright-core';
import { browser_path, sleep } from '../page/browser.mjs';

/** Until a reader looks: the page has asked for its data and has got it. */
const LOOK_AFTER = 3_000;

const browser = await chromium.launch({ executablePath: browser_path, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
const page = await browser.newPage();
await page.goto(process.argv[2]);
await sleep(LOOK_AFTER);
console.log(await page.locator('body').innerText());
await browser.close();
