// A page whose relay hangs says how old its data is, and goes on when the relay does. Told what to do by lines: prints
// "live", waits for a line after which the relay hangs, prints "stale", waits for a line, prints "live again".
//
//   node stall.mjs BASE

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { launch, text, until } from './browser.mjs';

const [base] = process.argv.slice(2);
const { visit, close } = await launch(base);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const page = await visit('/');
const status = () => text(page, '#live');
await until('live', async () => /live/.test(await status()));
console.log('live');
await lines.next();
await until('an age', async () => /data is [3-9] s old/.test(await status()));
assert(await page.locator('#banner').isVisible(), 'a banner says it');
console.log('stale');
await lines.next();
await until('live again', async () => /live/.test(await status()));
await until('the banner to go', async () => !(await page.locator('#banner').isVisible()));
console.log('live again');
await close();
process.exit(0);
