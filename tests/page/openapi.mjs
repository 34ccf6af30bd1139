// The description of the API against the API: it is valid OpenAPI, and each answer of the demo is as it says.
//
//   node openapi.mjs BASE

import assert from 'node:assert/strict';
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv/dist/2020.js';

const [base] = process.argv.slice(2);
const description = await (await fetch(`${base}/api/v1/openapi.json`)).json();
const { valid, errors } = await new Validator().validate(structuredClone(description));
assert(valid, `no OpenAPI: ${JSON.stringify(errors)}`);

/** Objects may have the keys that are described, and no other. */
function close(schema) {
  if (Array.isArray(schema)) schema.forEach(close);
  else if (schema && typeof schema === 'object') {
    if (schema.properties && !('additionalProperties' in schema)) schema.additionalProperties = false;
    Object.values(schema).forEach(close);
  }
}
close(description);
const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema(description, 'api');

let answers = 0;
async function holds(path, operation, channel) {
  const query = operation.parameters.some(({ name, required }) => name === 'channel' && required) ? `?channel=${channel}` : '';
  const url = base + path.replace('{name}', channel) + query;
  const response = await fetch(url);
  assert.equal(response.status, 200, url);
  const kind = response.headers.get('content-type').split(';')[0];
  assert(kind in operation.responses[200].content, `${url}: ${kind}`);
  if (kind !== 'application/json') return;
  const pointer = `/paths/${path.replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D')}/get/responses/200/content/application~1json/schema`;
  const check = ajv.compile({ $ref: `api#${pointer}` });
  const answer = await response.json();
  assert(check(answer), `${url}: ${JSON.stringify(check.errors?.slice(0, 3))}`);
  answers += 1;
}

// Losses, events and flows are there by now.
await new Promise((resolve) => setTimeout(resolve, 6000));
for (const [path, { get }] of Object.entries(description.paths)) {
  if (!get) continue;
  if (path === '/api/v1/live' || path === '/streams/{name}') continue; // they do not end
  for (const channel of ['film-two-paths', 'sensors']) await holds(path, get, channel);
}
assert(answers >= 20, `${answers} answers`);
// What is not there is refused as described.
const refused = await fetch(`${base}/api/v1/history`);
assert.equal(refused.headers.get('content-type').split(';')[0], 'text/plain');
console.log(`${answers} answers of ${Object.keys(description.paths).length} paths are as described`);
