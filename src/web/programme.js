// What a transport stream's map (PMT, ISO 13818-1 2.4.4.8) says, and a map without the parts that
// a browser cannot play: then it plays the rest.

/** Kinds of parts by stream type: name, what it is, what browsers call its codec; null: no browser
 * plays it from a page. */
const STREAM_TYPES = new Map([
  [0x01, ['MPEG-1 video', 'video', null]],
  [0x02, ['MPEG-2 video', 'video', null]],
  [0x03, ['MPEG audio', 'sound', 'audio/mpeg']],
  [0x04, ['MPEG audio', 'sound', 'audio/mpeg']],
  [0x0f, ['AAC', 'sound', 'audio/mp4; codecs="mp4a.40.2"']],
  [0x11, ['AAC (LATM)', 'sound', 'audio/mp4; codecs="mp4a.40.2"']],
  [0x1b, ['H.264', 'video', 'video/mp4; codecs="avc1.64001f"']],
  [0x24, ['HEVC', 'video', 'video/mp4; codecs="hvc1.1.6.L93.B0"']],
  [0x33, ['VVC', 'video', null]],
  [0x81, ['AC-3', 'sound', 'audio/mp4; codecs="ac-3"']],
  [0x87, ['E-AC-3', 'sound', 'audio/mp4; codecs="ec-3"']],
]);
/** Sections, metadata, splice points: nothing that a film lacks. */
const NO_FILM = new Set([0x05, 0x06, 0x15, 0x86]);
/** DVB announces some sound as private data with one of these descriptors. */
const PRIVATE = 0x06;
const DESCRIPTORS = new Map([
  [0x6a, ['AC-3', 'sound', 'audio/mp4; codecs="ac-3"']],
  [0x7a, ['E-AC-3', 'sound', 'audio/mp4; codecs="ec-3"']],
]);
/** Layers I to III share two stream types; the frames say which it is. */
const LAYERS = [null, ['MP3', 'sound', 'audio/mpeg'], ['MP2', 'sound', null], ['MP1', 'sound', null]];
const CRC = 4;

/** Whether only the sound's own frames say what it is. */
export const isUnsure = (part) => part.type === 0x03 || part.type === 0x04;

function described(bytes) {
  for (let at = 0; at + 2 <= bytes.length; at += 2 + bytes[at + 1]) {
    if (DESCRIPTORS.has(bytes[at])) return DESCRIPTORS.get(bytes[at]);
  }
  return null;
}

/** Where the parts of a map begin and end. */
function bounds(section) {
  const length = ((section[1] & 0x0f) << 8) | section[2];
  const first = 12 + (((section[10] & 0x0f) << 8) | section[11]);
  return { first, end: Math.min(3 + length - CRC, section.length) };
}

/** The parts of a map: { pid, type, name, kind, codec, from, to }, the last two its place in the
 * section. */
export function partsOf(section) {
  const { first, end } = bounds(section);
  const parts = [];
  let from = first;
  while (from + 5 <= end) {
    const type = section[from];
    const to = from + 5 + (((section[from + 3] & 0x0f) << 8) | section[from + 4]);
    const known = type === PRIVATE ? described(section.subarray(from + 5, to)) : STREAM_TYPES.get(type);
    if (known || !NO_FILM.has(type)) {
      const [name, kind, codec] = known ?? [`stream type 0x${type.toString(16)}`, 'other', null];
      parts.push({ pid: ((section[from + 1] & 0x1f) << 8) | section[from + 2], type, name, kind, codec, from, to });
    }
    from = to;
  }
  return parts;
}

/** Says which layer a part of MPEG audio is, from the beginning of one of its PES packets; false:
 * that is none. */
export function learnLayer(part, pes) {
  if (pes.length < 9 || pes[0] !== 0 || pes[1] !== 0 || pes[2] !== 1) return false;
  const at = 9 + pes[8];
  if (at + 2 > pes.length || pes[at] !== 0xff || (pes[at + 1] & 0xe0) !== 0xe0) return false;
  const layer = LAYERS[(pes[at + 1] >> 1) & 3];
  if (!layer) return false;
  [part.name, part.kind, part.codec] = layer;
  return true;
}

/** The packet of a map without these parts; as it is, if the map does not fit into one packet. */
export function without(packet, start, section, parts) {
  const { end } = bounds(section);
  if (parts.length === 0 || end + CRC > section.length) return packet;
  const gone = new Set(parts.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, index) => from + index)));
  const kept = [...section.subarray(0, end)].filter((_, index) => !gone.has(index));
  const length = kept.length - 3 + CRC;
  kept[1] = (kept[1] & 0xf0) | (length >> 8);
  kept[2] = length & 0xff;
  const sum = crc(kept);
  const out = new Uint8Array(packet.length).fill(0xff);
  out.set(packet.subarray(0, start));
  out.set(kept, start);
  out.set([sum >>> 24, (sum >>> 16) & 0xff, (sum >>> 8) & 0xff, sum & 0xff], start + kept.length);
  return out;
}

/** CRC-32 of MPEG-2 (annex A). */
function crc(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte << 24;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 0x80000000 ? (sum << 1) ^ 0x04c11db7 : sum << 1;
  }
  return sum >>> 0;
}
