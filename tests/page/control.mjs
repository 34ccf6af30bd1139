// What an operator does in the page: a client is disconnected after a question, with the keyboard alone, and only where the relay
// allows it; counters are reset and shown again; the page stands still while one reads. Two players, `first` and `second`, are there.
//
//   node control.mjs BASE allowed|refused

import assert from 'node:assert/strict';
import { launch, sleep, text, until } from './browser.mjs';

const [base, may] = process.argv.slice(2);
const { visit, close, complaints } = await launch(base);
const page = await visit('/#/channel/main');
const agents = () => page.locator('[aria-label="Clients"] tbody tr td:nth-child(2)').allInnerTexts();
const buttons = page.locator('[aria-label="Clients"] td button');
const focused = () => page.evaluate(() => document.activeElement.textContent);
await until('two clients', async () => (await agents()).length === 2);
assert.equal(await buttons.count(), may === 'allowed' ? 2 : 0);

async function disconnects_after_a_question() {
  const row = page.locator('[aria-label="Clients"] tr', { hasText: 'first' });
  const button = row.locator('button');
  const name = await button.getAttribute('aria-label');
  const address = await row.locator('td').first().innerText();
  assert.equal(name, `Disconnect ${address}`);
  await button.focus();
  await page.keyboard.press('Enter');
  assert.equal(await text(page, '#ask-title'), `Disconnect ${address}?`);
  assert.match(await text(page, '#ask p'), /^http, first, since \d\d:\d\d:\d\d/);
  assert.equal(await focused(), 'Keep it', 'the harmless answer');
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), name, 'the focus returns');
  await sleep(1500);
  assert.equal((await agents()).length, 2, 'it was kept');
  // The rows may have changed places.
  await row.locator('button').focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.equal(await focused(), 'Disconnect');
  await page.keyboard.press('Enter');
  await until('one client', async () => (await agents()).join() === 'http, second');
  assert(!(await page.locator('#ask').isVisible()));
  assert.equal(await focused(), 'Clients', 'the focus is where one reads on');
  await until('an event', async () => /\(http, first\) was disconnected by an operator at 127\.0\.0\.1:\d+/.test(await text(page, '#detail .events')));
  const cut_off = page.locator('[aria-label="Subscribers"] tr', { hasText: 'http' }).locator('td').last();
  await until('its count', async () => (await cut_off.innerText()) === '1');
}

/** What the relay refuses is said in its words. */
async function says_why_not() {
  await page.route('**/api/v1/streams/main/clients/*', (route) => route.continue({ url: `${base}/api/v1/streams/main/clients/999999` }));
  await buttons.first().click();
  await page.locator('#ask .danger').click();
  await until('why not', async () => /main has no client 999999/.test(await text(page, '#ask .trouble')));
  await page.keyboard.press('Escape');
  await page.unroute('**/api/v1/streams/main/clients/*');
  // The browser notes the answer's status.
  assert.equal(complaints.filter((complaint) => /404/.test(complaint)).length, 1);
  complaints.length = 0;
}

const number = async (locator) => Number((await locator.innerText()).replaceAll(',', ''));
const delivered = () => number(page.locator('.pairs div', { hasText: /^delivered/ }).locator('dd'));
const counted_by_relay = async () => Number((await (await page.request.get(`${base}/metrics`)).text()).match(/packets_delivered_total{[^}]*} (\d+)/)[1]);

async function counts_from_now_on() {
  const received = page.locator('.flow-body .received').first();
  await until('some packets', async () => (await delivered()) > 30);
  const [before, flow] = [await delivered(), await number(received)];
  await page.keyboard.press('r');
  await until('fewer', async () => (await delivered()) < before);
  assert.match(await text(page, '.counted'), /^Counters and tables count since \d\d:\d\d:\d\d, in this page alone\.$/);
  await until('fewer of the flow, too', async () => (await number(received)) < flow);
  assert((await number(page.locator('[aria-label="Inputs"] td').nth(2))) < before, 'and of the input');
  assert((await counted_by_relay()) >= before, 'the relay counts on');
  const soon = await delivered();
  await until('it to count', async () => (await delivered()) > soon);
  // It is this page's alone, and stays while one looks at other channels.
  await page.keyboard.press('Escape');
  await page.goto(`${base}/#/channel/main`);
  await page.locator('.pairs').waitFor();
  await until('what came since', async () => (await delivered()) > soon && (await delivered()) < (await counted_by_relay()));
  await page.locator('button', { hasText: 'Show all again' }).click();
  await until('all', async () => (await delivered()) > before);
  assert.equal(await text(page, '.counted'), '');
}

async function stands_still_while_one_reads() {
  await page.keyboard.press('f');
  await until('a banner', async () => /^Frozen at \d\d:\d\d:\d\d; the relay goes on\.\s+[1-9]\s?s ago/.test(await text(page, '#banner')));
  await page.locator('#thaw').focus();
  await page.keyboard.press('Enter');
  assert(!(await page.locator('#banner').isVisible()));
  assert.equal(await page.evaluate(() => document.activeElement.id), 'freeze', 'the button has gone');
}

if (may === 'allowed') {
  await disconnects_after_a_question();
  await says_why_not();
}
await counts_from_now_on();
await stands_still_while_one_reads();
await close();
