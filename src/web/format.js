// Numbers as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const three = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

/** 1234567 -> 1,234,567 */
export const count = (value) => whole.format(value);

/** A number with a prefix: 1234567 -> 1.23 M */
export function scaled(value, unit = '') {
  const prefixes = ['', 'k', 'M', 'G', 'T'];
  let power = 0;
  while (Math.abs(value) >= 999.5 && power < prefixes.length - 1) {
    value /= 1000;
    power += 1;
  }
  return `${three.format(value)} ${prefixes[power]}${unit}`.trimEnd();
}

/** Bits per second. */
export const bits = (value) => scaled(value, 'bit/s');

/** Packets per second; slow ones as their interval. */
export const packets = (value) => {
  if (value > 0 && value < 0.5) return `1 in ${one.format(1 / value)} s`;
  return value >= 999.5 && value < 99_999.5 ? `${whole.format(value)}/s` : `${scaled(value)}/s`;
};

/** A share from 0 to 1 as a percentage; never 0 % of something. */
export function percent(share) {
  if (!(share > 0)) return '0 %';
  const value = share * 100;
  return value < 0.001 ? '< 0.001 %' : `${three.format(value)} %`;
}

/** Seconds, as a short time. */
export function time(seconds) {
  if (seconds > 0 && seconds < 0.0009995) return `${three.format(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${three.format(seconds * 1000)} ms`;
  if (seconds < 120) return `${one.format(seconds)} s`;
  if (seconds < 7200) return `${whole.format(seconds / 60)} min`;
  if (seconds < 172800) return `${whole.format(seconds / 3600)} h`;
  return `${whole.format(seconds / 86400)} d`;
}

/** Bytes, with binary prefixes. */
export function bytes(value) {
  const prefixes = ['', 'Ki', 'Mi', 'Gi', 'Ti'];
  let power = 0;
  while (value >= 1023.5 && power < prefixes.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${three.format(value)} ${prefixes[power]}B`;
}

/** The time of day of a stamp in milliseconds since the Unix epoch; with the date if it is another day. */
export function clock(at) {
  const date = new Date(at);
  const day = date.toDateString() === new Date().toDateString() ? '' : `${date.toISOString().slice(0, 10)} `;
  return day + date.toTimeString().slice(0, 8);
}

/** "1 packet", "2 packets" */
export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
