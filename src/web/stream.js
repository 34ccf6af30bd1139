// A film on its way to the player. Browsers are strict: their decoders give up at a damaged
// picture, and they stop for good at a time stamp that lies before what they have played. So
// pictures and sounds (PES packets) of which a part was lost are left out as a whole, and time
// stamps continue without a step when a producer starts again. It also records which codecs the
// stream carries.

import { isUnsure, learnLayer, partsOf, without } from './programme.js';

const PACKET = 188;
const SYNC = 0x47;
const WRAP = 2 ** 33;
const SECOND = 90_000;
/** Steps of time stamps that are no break: reordered pictures back, lost ones forward. */
const BACK = SECOND / 2;
const FORWARD = 5 * SECOND;
/** What follows a break begins so much later than what was before it: about a picture. */
const PICTURE = SECOND / 25;
/** A PES packet that has no end is none. */
const PES_MAX = 8 << 20;
/** Bytes of a PES packet that its length does not count. */
const PES_HEAD = 6;
const NULL_PID = 0x1fff;

/** Packets that wait at most until the stream has said what it carries: some seconds of it. */
const EARLY_MAX = 12_000;

/** Reads and mends the packets of one transport stream. */
export class TransportStream {
  /** `supports` says whether a codec can be played; `known` is called when the parts are known. */
  constructor(supports = () => true, known = () => {}) {
    Object.assign(this, { supports, known });
    this.rest = EMPTY;
    this.pmt = -1;
    /** Of the first programme; empty until they are known. */
    this.parts = [];
    /** Parts that are left out, because they cannot be played. */
    this.left = [];
    /** Packets that wait until the parts are known. */
    this.early = [];
    this.offset = 0;
    this.before = 0;
    this.last = new Map();
    this.pids = new Map();
  }

  /** Takes bytes as they come; gives the packets that are whole and belong to something whole. */
  push(bytes) {
    const all = join([this.rest, bytes]);
    let at = this.start(all);
    const out = [];
    while (at + PACKET <= all.length && all[at] === SYNC) {
      const packet = all.subarray(at, at + PACKET);
      if (this.early) this.wait(packet, out);
      else this.packet(packet, out);
      at += PACKET;
    }
    this.rest = all.slice(at);
    return join(out);
  }

  /** Keeps a packet until the parts are known. */
  wait(packet, out) {
    this.early.push(packet.slice());
    const pid = pidOf(packet);
    const payload = payloadOf(packet);
    if (packet[1] & 0x40) {
      if (pid === 0 || pid === this.pmt) this.table(pid, payload.subarray(1 + (payload[0] ?? 0)));
      const unsure = this.unsure?.find((part) => part.pid === pid);
      if (unsure && learnLayer(unsure, payload)) this.unsure = this.unsure.filter((part) => part !== unsure);
    }
    if (this.unsure?.length !== 0 && this.early.length < EARLY_MAX) return;
    // Without a picture that can be played, all is as it is: the player says what is missing.
    const plays = (part) => part.codec !== null && this.supports(part.codec);
    const hasPicture = this.parts.some((part) => part.kind === 'video' && plays(part));
    this.left = hasPicture ? this.parts.filter((part) => part.kind !== 'video' && !plays(part)) : [];
    const { early } = this;
    this.early = null;
    for (const packet of early) this.packet(packet, out);
    this.known(this);
  }

  /** Where packets begin: at once, unless bytes were lost in between. */
  start(all) {
    for (let at = 0; at + PACKET < all.length; at += 1) {
      if (all[at] === SYNC && all[at + PACKET] === SYNC) return at;
    }
    return all[0] === SYNC ? 0 : all.length;
  }

  packet(packet, out) {
    const pid = pidOf(packet);
    const starts = packet[1] & 0x40;
    if (pid === NULL_PID || this.left.some((part) => part.pid === pid)) return;
    const payload = payloadOf(packet);
    if (pid === 0 || pid === this.pmt) {
      out.push(starts ? this.map(packet, pid, payload) : packet);
      return;
    }
    if (!this.pids.has(pid)) this.pids.set(pid, { counter: -1, whole: false, held: [] });
    const part = this.pids.get(pid);
    if (!this.count(part, packet)) return;
    if (starts) {
      this.release(part, out);
      this.begin(part, pid, payload);
    }
    if (!part.whole) return;
    part.held.push(packet);
    part.size += payload.length;
    if (part.size === part.length) this.release(part, out);
  }

  /** A PES packet begins. Of pictures it need not say how long it is: then it ends where the next
   * one begins. */
  begin(part, pid, payload) {
    const isPes = payload.length >= 14 && payload[0] === 0 && payload[1] === 0 && payload[2] === 1;
    const length = isPes ? (payload[4] << 8) | payload[5] : 0;
    Object.assign(part, { held: [], whole: true, size: 0, length: length > 0 ? length + PES_HEAD : -1, first: isPes ? payload : null });
    if (isPes) this.stamps(pid, payload);
  }

  /** Hands out a PES packet that is whole, with its length, so that the player need not wait for
   * the next one, too. */
  release(part, out) {
    const length = part.size - PES_HEAD;
    if (part.whole && part.first && part.length < 0 && length > 0 && length <= 0xffff) {
      part.first[4] = length >> 8;
      part.first[5] = length & 0xff;
    }
    if (part.whole) for (const held of part.held) out.push(held);
    Object.assign(part, { held: [], whole: false });
  }

  /** Follows a PID's continuity counter (2.4.3.3); false: the packet was there before. */
  count(part, packet) {
    if (!(packet[3] & 0x10)) return true;
    const counter = packet[3] & 0x0f;
    const again = counter === part.counter;
    const next = counter === ((part.counter + 1) & 0x0f);
    part.counter = counter;
    const damaged = packet[1] & 0x80;
    if ((!next && !again) || damaged || part.held.length * PACKET > PES_MAX) Object.assign(part, { held: [], whole: false });
    return !again;
  }

  /** A packet of a table, without what is left out. */
  map(packet, pid, payload) {
    const section = payload.subarray(1 + (payload[0] ?? 0));
    if (pid === 0) this.table(pid, section);
    const left = pid === this.pmt && section.length >= 12 ? partsOf(section).filter((part) => this.left.some((gone) => gone.pid === part.pid)) : [];
    return without(packet, PACKET - section.length, section, left);
  }

  /** The first programme of a PAT, or the parts of its PMT (2.4.4). */
  table(pid, section) {
    if (section.length < 12) return;
    const length = ((section[1] & 0x0f) << 8) | section[2];
    const end = Math.min(3 + length - 4, section.length);
    if (pid === 0 && section[0] === 0) {
      for (let at = 8; at + 4 <= end; at += 4) {
        if ((section[at] << 8) | section[at + 1]) {
          this.pmt = ((section[at + 2] & 0x1f) << 8) | section[at + 3];
          return;
        }
      }
    } else if (section[0] === 2 && this.parts.length === 0) {
      this.parts = partsOf(section);
      this.unsure = this.parts.filter(isUnsure);
    }
  }

  /** The time stamps of a PES packet (2.4.3.6), moved by what keeps them going on. */
  stamps(pid, pes) {
    const id = pes[3];
    const flags = pes[7] >> 6;
    if (id < 0xbd || id === 0xbe || id === 0xbf || id > 0xef || flags < 2) return;
    const hasDts = flags === 3 && pes.length >= 19;
    const pts = readStamp(pes, 9);
    const time = hasDts ? readStamp(pes, 14) : pts;
    const offset = this.offsetOf(pid, time);
    this.last.set(pid, wrapped(time + offset));
    writeStamp(pes, 9, wrapped(pts + offset));
    if (hasDts) writeStamp(pes, 14, wrapped(time + offset));
  }

  /** By how much this PID's stamps move: as before, or by the break that is here. The parts of a
   * programme break one after the other, and all by the same. */
  offsetOf(pid, time) {
    const last = this.last.get(pid);
    if (last === undefined) return this.offset;
    const goesOn = (offset) => {
      const step = signed(time + offset - last);
      return step > -BACK && step < FORWARD;
    };
    if (goesOn(this.offset)) return this.offset;
    if (goesOn(this.before)) return this.before;
    this.before = this.offset;
    this.offset = wrapped(last + PICTURE - time);
    return this.offset;
  }
}

const EMPTY = new Uint8Array(0);

const pidOf = (packet) => ((packet[1] & 0x1f) << 8) | packet[2];

const payloadOf = (packet) => (packet[3] & 0x10 ? packet.subarray(packet[3] & 0x20 ? 5 + packet[4] : 4) : EMPTY);

function join(pieces) {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

const wrapped = (time) => ((time % WRAP) + WRAP) % WRAP;
const signed = (time) => {
  const step = wrapped(time);
  return step < WRAP / 2 ? step : step - WRAP;
};

/** 33 bits in five bytes with marker bits between them; too many for the operators on 32 bits. */
function readStamp(bytes, at) {
  return ((bytes[at] >> 1) & 7) * 2 ** 30 + ((bytes[at + 1] << 22) | ((bytes[at + 2] >> 1) << 15) | (bytes[at + 3] << 7) | (bytes[at + 4] >> 1));
}

function writeStamp(bytes, at, time) {
  const high = Math.floor(time / 2 ** 30);
  const low = time % 2 ** 30;
  bytes[at] = (bytes[at] & 0xf1) | (high << 1);
  bytes[at + 1] = low >> 22;
  bytes[at + 2] = ((low >> 14) & 0xfe) | 1;
  bytes[at + 3] = (low >> 7) & 0xff;
  bytes[at + 4] = ((low << 1) & 0xfe) | 1;
}

/** A loader for mpegts.js that reads through a TransportStream, which `known` gets when its parts
 * are known. */
export function loader(mpegts, known) {
  const { LoaderStatus } = mpegts;
  return class extends mpegts.BaseLoader {
    constructor() {
      super('mended-fetch');
      this.received = 0;
    }

    async open({ url }) {
      this._status = LoaderStatus.kConnecting;
      this.abortion = new AbortController();
      const stream = new TransportStream((codec) => MediaSource.isTypeSupported(codec), known);
      try {
        const response = await fetch(url, { signal: this.abortion.signal, cache: 'no-store' });
        if (!response.ok) throw new Error((await response.text()).trim() || `status ${response.status}`);
        await this.pump(response.body.getReader(), stream);
        this._status = LoaderStatus.kComplete;
        this._onComplete?.(0, this.received - 1);
      } catch (error) {
        if (this.abortion.signal.aborted) return;
        this._status = LoaderStatus.kError;
        this._onError?.('Exception', { code: -1, msg: error.message });
      }
    }

    async pump(reader, stream) {
      for (;;) {
        const { value, done } = await reader.read();
        if (done || this.abortion.signal.aborted) return;
        this._status = LoaderStatus.kBuffering;
        const packets = stream.push(value);
        if (packets.length === 0) continue;
        const start = this.received;
        this.received += packets.length;
        this._onDataArrival?.(packets.buffer, start, this.received);
      }
    }

    abort() {
      this._status = LoaderStatus.kIdle;
      this.abortion?.abort();
    }

    destroy() {
      this.abort();
      super.destroy();
    }
  };
}
