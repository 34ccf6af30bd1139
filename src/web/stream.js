// A film on its way to the player. Browsers are strict: their decoders give up at a damaged picture, and they stop for good
// at a time stamp that lies before what they have played. So pictures and sounds (PES packets) of which a part was lost are
// left out as a whole, and time stamps go on where a producer begins anew. It also notes what the stream carries.

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

/** Stream types of ISO 13818-1 and what browsers call their codecs; null: no browser plays it from a page. */
const STREAM_TYPES = new Map([
  [0x01, ['MPEG-1 video', null]],
  [0x02, ['MPEG-2 video', null]],
  [0x03, ['MPEG audio', 'audio/mpeg']],
  [0x04, ['MPEG-2 audio', 'audio/mpeg']],
  [0x0f, ['AAC', 'audio/mp4; codecs="mp4a.40.2"']],
  [0x11, ['AAC (LATM)', 'audio/mp4; codecs="mp4a.40.2"']],
  [0x1b, ['H.264', 'video/mp4; codecs="avc1.64001f"']],
  [0x24, ['HEVC', 'video/mp4; codecs="hvc1.1.6.L93.B0"']],
  [0x33, ['VVC', null]],
  [0x81, ['AC-3', 'audio/mp4; codecs="ac-3"']],
  [0x87, ['E-AC-3', 'audio/mp4; codecs="ec-3"']],
]);
/** Private data, sections, metadata, splice points: nothing that a film lacks. */
const NO_FILM = new Set([0x05, 0x06, 0x15, 0x86]);

/** Reads and mends the packets of one transport stream. */
export class TransportStream {
  constructor() {
    this.rest = new Uint8Array(0);
    this.pmt = -1;
    /** [name, type for MediaSource] of each part of the first programme; empty until it is known. */
    this.parts = [];
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
      this.packet(all.subarray(at, at + PACKET), out);
      at += PACKET;
    }
    this.rest = all.slice(at);
    return join(out);
  }

  /** Where packets begin: at once, unless bytes were lost in between. */
  start(all) {
    for (let at = 0; at + PACKET < all.length; at += 1) {
      if (all[at] === SYNC && all[at + PACKET] === SYNC) return at;
    }
    return all[0] === SYNC ? 0 : all.length;
  }

  packet(packet, out) {
    const pid = ((packet[1] & 0x1f) << 8) | packet[2];
    const starts = packet[1] & 0x40;
    if (pid === NULL_PID) return;
    const payload = packet[3] & 0x10 ? packet.subarray(packet[3] & 0x20 ? 5 + packet[4] : 4) : EMPTY;
    if (pid === 0 || pid === this.pmt) {
      if (starts) this.table(pid, payload.subarray(1 + (payload[0] ?? 0)));
      out.push(packet);
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

  /** A PES packet begins. Of pictures it need not say how long it is: then it ends where the next one begins. */
  begin(part, pid, payload) {
    const isPes = payload.length >= 14 && payload[0] === 0 && payload[1] === 0 && payload[2] === 1;
    const length = isPes ? (payload[4] << 8) | payload[5] : 0;
    Object.assign(part, { held: [], whole: true, size: 0, length: length > 0 ? length + PES_HEAD : -1, first: isPes ? payload : null });
    if (isPes) this.stamps(pid, payload);
  }

  /** Hands out a PES packet that is whole, with its length, so that the player need not wait for the next one, too. */
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
    } else if (section[0] === 2) {
      this.parts = [];
      let at = 12 + (((section[10] & 0x0f) << 8) | section[11]);
      while (at + 5 <= end) {
        const type = section[at];
        if (!NO_FILM.has(type)) this.parts.push(STREAM_TYPES.get(type) ?? [`stream type 0x${type.toString(16)}`, null]);
        at += 5 + (((section[at + 3] & 0x0f) << 8) | section[at + 4]);
      }
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

  /** By how much this PID's stamps move: as before, or by the break that is here. The parts of a programme break one after
   * the other, and all by the same. */
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

/** A loader for mpegts.js that reads through a TransportStream, which `opened` gets. */
export function loader(mpegts, opened) {
  const { LoaderStatus } = mpegts;
  return class extends mpegts.BaseLoader {
    constructor() {
      super('mended-fetch');
      this.received = 0;
    }

    async open({ url }) {
      this._status = LoaderStatus.kConnecting;
      this.abortion = new AbortController();
      const stream = new TransportStream();
      opened(stream);
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
