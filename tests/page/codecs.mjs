// A film of which the browser cannot play a part: without the sound it plays and says so; without the picture it is named, and lines for
// other players stand there.
//
//   node codecs.mjs BASE CHANNEL sound|picture NAME

import assert from 'node:assert/strict';
import { fits, launch, text, until } from './browser.mjs';

const [base, channel, what, name] = process.argv.slice(2);
const { visit, close } = await launch(base);
const page = await visit(`/#/channel/${channel}`);
await page.locator('.detail-head .primary').click();
const status = () => text(page, '.film-status');
if (what === 'sound') {
  await until('the picture', async () => /^live/.test(await status()));
  assert.equal(await status(), `live, without sound: browsers do not play ${name}`);
  const time = () => page.evaluate(() => document.querySelector('.film video').currentTime);
  const before = await time();
  await until('it to go on', async () => (await time()) > before + 2);
  await page.keyboard.press('m');
  await until('it to be muted', () => page.evaluate(() => document.querySelector('.film video').muted));
} else {
  await until('the reason', async () => (await status()) === `This browser cannot play ${name}. Another player can:`);
  assert(await page.locator('.elsewhere code').first().isVisible(), 'lines for other players');
  assert(!(await page.locator('.film video').isVisible()), 'no empty picture');
}
await fits(page, 'film');
await close();
