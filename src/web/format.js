// Numbers as people read them, in the way of the browser's language. Between a number and its unit
// stands a space at which no line breaks.

const format = (options) => new Intl.NumberFormat(undefined, options);
const whole = format({ maximumFractionDigits: 0 });
const one = format({ maximumFractionDigits: 1 });
const three = format({ maximumSignificantDigits: 3 });
const five = format({ maximumSignificantDigits: 5 });
const ten = format({ maximumFractionDigits: 10 });
const SPACE = '\u00a0';

/** 1234567 -> 1,234,567 */
export const count = (value) => whole.format(value);

/** A reading, with all its digits, and with five of them. */
export const exact = (value) => ten.format(value);
export const short = (value) => five.format(value);

/** A number with a prefix: 1234567 -> 1.23 M */
export function scaled(value, unit = '') {
  const prefixes = ['', 'k', 'M', 'G', 'T'];
  let power = 0;
  while (Math.abs(value) >= 999.5 && power < prefixes.length - 1) {
    value /= 1000;
    power += 1;
  }
  return `${three.format(value)}${SPACE}${prefixes[power]}${unit}`.trimEnd();
}

/** Bits per second. */
export const bits = (value) => scaled(value, 'bit/s');

/** Packets per second; slow ones as their interval. */
export const packets = (value) => {
  if (value > 0 && value < 0.5) return `1 in ${one.format(1 / value)}${SPACE}s`;
  return value >= 999.5 && value < 99_999.5 ? `${whole.format(value)}/s` : `${scaled(value)}/s`;
};

/** A share from 0 to 1 as a percentage; never 0 % of something. */
export function percent(share) {
  if (!(share > 0)) return `0${SPACE}%`;
  const value = share * 100;
  return value < 0.001 ? `< ${three.format(0.001)}${SPACE}%` : `${three.format(value)}${SPACE}%`;
}

/** Seconds, as a short time. */
export function time(seconds) {
  if (seconds > 0 && seconds < 0.0009995) return `${three.format(seconds * 1e6)}${SPACE}µs`;
  if (seconds < 0.9995) return `${three.format(seconds * 1000)}${SPACE}ms`;
  if (seconds < 120) return `${one.format(seconds)}${SPACE}s`;
  if (seconds < 7200) return `${whole.format(seconds / 60)}${SPACE}min`;
  if (seconds < 172800) return `${whole.format(seconds / 3600)}${SPACE}h`;
  return `${whole.format(seconds / 86400)}${SPACE}d`;
}

/** Bytes, with binary prefixes. */
export function bytes(value) {
  const prefixes = ['', 'Ki', 'Mi', 'Gi', 'Ti'];
  let power = 0;
  while (value >= 1023.5 && power < prefixes.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${three.format(value)}${SPACE}${prefixes[power]}B`;
}

/** The time of day of a stamp in milliseconds since the Unix epoch; with the date if it is another
 * day. */
export function clock(at) {
  const date = new Date(at);
  const day = date.toDateString() === new Date().toDateString() ? '' : `${date.toISOString().slice(0, 10)}${SPACE}`;
  return day + date.toTimeString().slice(0, 8);
}

/** "1 packet", "2 packets" */
export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? '' : 's'}`;

const SMALL = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'];

/** A small number in a sentence: 2 -> two */
export const spelled = (value) => SMALL[value] ?? count(value);

const PROGRAMS = [
  [/\bEdg(?:e|A|iOS)?\/(\d+)/, 'Edge'],
  [/\bOPR\/(\d+)/, 'Opera'],
  [/\bFirefox\/(\d+)/, 'Firefox'],
  [/\b(?:Headless)?Chrom(?:e|ium)\/(\d+)/, 'Chrome'],
  [/\bVersion\/(\d+).*\bSafari\//, 'Safari'],
];
const SYSTEMS = [
  [/Android/, 'Android'],
  [/iPhone|iPad/, 'iOS'],
  [/Windows/, 'Windows'],
  [/Mac OS X/, 'macOS'],
  [/CrOS/, 'ChromeOS'],
  [/Linux/, 'Linux'],
];

/** A program by what it calls itself: a browser's hundred characters become "Chrome 156, Linux". */
export function program(agent) {
  const [pattern, name] = PROGRAMS.find(([pattern]) => pattern.test(agent)) ?? [];
  if (!name || !agent.startsWith('Mozilla/')) return agent;
  const system = SYSTEMS.find(([pattern]) => pattern.test(agent))?.[1];
  return [`${name} ${pattern.exec(agent)[1]}`, system].filter(Boolean).join(', ');
}
