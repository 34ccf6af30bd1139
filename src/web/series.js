// The charts of a channel, and how each is made of the columns of its history.

import { bits, count, packets, scaled, time } from './format.js';

/** Samples come once a second; where one is further from the next, there was nothing between them. */
const GAP_MS = 2600;

const perSecond = (value) => `${count(value)}/s`;
const slow = (value) => (value > 0 && value < 10 ? `${scaled(value)}/s` : perSecond(value));

export const CHANNEL_CHARTS = [
  {
    title: 'Received',
    series: [{ label: 'bit rate', colour: 'received', format: bits, fill: true }],
    empty: 'nothing received',
    values: (c) => [c.bytes.map((value) => value * 8)],
  },
  {
    title: 'Rescued and lost',
    series: [
      { label: 'rescued', colour: 'rescued', format: slow, fill: true },
      { label: 'lost', colour: 'network', format: slow, fill: true },
    ],
    empty: 'nothing lost, and nothing to rescue',
    values: (c) => [c.recovered_fec.map((value, i) => value + c.recovered_retransmission[i] + c.other_leg[i]), c.lost],
  },
  {
    title: 'Delay',
    series: [
      { label: 'hold', colour: 'accent', format: time },
      { label: 'jitter', colour: 'edge', format: time },
    ],
    empty: 'nothing was held',
    values: (c) => [c.hold_seconds, c.jitter_seconds],
  },
  {
    title: 'Packets',
    series: [
      { label: 'delivered', colour: 'received', format: packets, fill: true },
      { label: 'duplicates', colour: 'edge', format: packets },
    ],
    empty: 'no packets',
    values: (c) => [c.delivered, c.duplicate],
  },
];

/** Times in seconds and each chart's values, with gaps where samples are missing. */
export function seriesOf({ times, columns }) {
  const at = [];
  const from = [];
  times.forEach((time, index) => {
    if (index > 0 && time - times[index - 1] > GAP_MS) {
      at.push((times[index - 1] + 1000) / 1000);
      from.push(-1);
    }
    at.push(time / 1000);
    from.push(index);
  });
  const whole = from.length === times.length;
  const gapped = (values) => (whole ? values : from.map((index) => (index < 0 ? null : values[index])));
  return CHANNEL_CHARTS.map(({ values }) => [at, ...values(columns).map(gapped)]);
}
