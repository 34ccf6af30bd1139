// The login: a form that a person fills in, the page behind it with its name and a way out, and nothing of it for others.
//
//   node login.mjs BASE [FOLDER]
//
// The relay at BASE knows the token "chief". Pictures go to FOLDER.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fits, launch, text } from './browser.mjs';

const [base, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const { visit, close } = await launch(base);
for (const colorScheme of ['light', 'dark']) {
  const page = await visit('/login', { colorScheme, viewport: { width: 390, height: 844 } });
  await fits(page, 'the form');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'token', 'one may type at once');
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Page.setBypassCSP', { enabled: true });
  await page.reload();
  await page.addScriptTag({ content: axe });
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), []);
  if (folder) await page.screenshot({ path: `${folder}/login-${colorScheme}.png` });
  await page.fill('#token', 'chief');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#logout:not([hidden])');
  assert.equal(await page.getAttribute('#logout-button', 'title'), 'Log out (chief)');
  await fits(page, 'the page');
  if (folder) await page.screenshot({ path: `${folder}/in-${colorScheme}.png` });
  assert.equal(await page.evaluate(() => document.cookie), '', 'scripts do not see the token');
  await page.click('#logout-button');
  await page.waitForSelector('#token');
  assert.match(await text(page, 'form'), /This relay asks who you are/);
  await page.context().close();
}
await close();
