// What a page knows stays bounded, however long it is open and however many flows come and go.

import assert from 'node:assert/strict';

const { applyValues, state } = await import(process.argv[2]);

for (let number = 0; number < 5000; number += 1) {
  applyValues({ [`flow-${number}`]: [number, number, number], stays: [number, number, number] });
}
assert.ok(state.values.size <= 1000, `${state.values.size} flows`);
assert.equal(state.values.get('stays').value, 4999);
assert.equal(state.values.get('stays').line.length, 120);
assert.ok(state.values.has('flow-4999') && !state.values.has('flow-0'), 'those that were heard last are known');
