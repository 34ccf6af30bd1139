// Clients of one stream, as one would write them with the usual packages.
//
//   node clients.js TRANSPORT HOST:PORT STREAM COUNT END [PAUSE_AT PAUSE_MS]
//
// Each takes messages until the number END has come. The first one stops reading for PAUSE_MS when the number PAUSE_AT
// has come. Prints what each client got, a line of JSON each.
'use strict';
const crypto = require('node:crypto');
const net = require('node:net');
const path = require('node:path');

const packages = path.join(__dirname, '..', 'node_modules');
const [transport, address, stream, count, end, pauseAt, pauseMs] = process.argv.slice(2);
const [host, port] = address.split(':');

class Client {
  constructor(pauses) {
    this.pauses = pauses;
    this.pause = () => {};
    this.resume = () => {};
    this.next = null; // the number that comes next
    this.told = { packets: 0, recovered: 0, last: 0, lost: [], missed: [], disorder: [], wrong: [] };
    this.digest = crypto.createHash('sha1');
    this.done = new Promise((resolve) => (this.finish = resolve));
  }

  // {type, seq, how, last, from, to, packets, payload: what the packet carries as text}
  message(m) {
    const { told } = this;
    if (this.ended) return; // others may still wait
    if (m.type === 'packet' && m.last && this.next !== null && m.seq < this.next) {
      told.wrong.push(`last value ${m.seq} before ${this.next}`);
    }
    if (m.type === 'packet') {
      told.packets++;
      if (m.last) told.last++;
      if (m.how === 'recovered') told.recovered++;
      if (m.payload.split(' ')[0] !== String(m.seq)) told.wrong.push(`${m.seq} carries ${m.payload.slice(0, 40)}`);
      this.follow(m.seq, m.seq);
    } else if (m.type === 'lost') {
      told.lost.push([m.from, m.to]);
      this.follow(m.from, m.to);
    } else if (m.type === 'missed') {
      told.missed.push([m.from, m.to, m.packets]);
      this.follow(m.from, m.to);
    }
    this.digest.update(`${m.type}${m.seq ?? m.from} ${m.how ?? m.to} `);
    if (this.pauses && m.seq >= Number(pauseAt)) {
      this.pauses = false;
      this.pause();
      setTimeout(() => this.resume(), Number(pauseMs));
    }
    if (m.type === 'packet' && m.seq === Number(end)) {
      this.ended = true;
      this.finish();
    }
  }

  follow(from, to) {
    if (this.next !== null && from !== this.next) this.told.disorder.push([this.next, from]);
    this.next = to + 1;
  }
}

const json = (client) => (text) => {
  const m = JSON.parse(text);
  if (m.stream !== stream) throw new Error(text);
  client.message(m);
};

const KINDS = ['packet', 'lost', 'missed', 'started', 'ended', 'reply'];

function frame(client, bytes) {
  const type = KINDS[bytes[0]];
  const [first, second] = [Number(bytes.readBigUInt64BE(8)), Number(bytes.readBigUInt64BE(16))];
  const rest = bytes.subarray(24 + bytes.readUInt16BE(4));
  if (type === 'packet') {
    const how = bytes[1] & 3 ? 'recovered' : 'received';
    client.message({ type, seq: first, how, last: Boolean(bytes[1] & 8), payload: rest.toString() });
  } else if (type === 'missed') {
    client.message({ type, from: first, to: second, packets: Number(rest.readBigUInt64BE(0)) });
  } else if (type === 'lost') {
    client.message({ type, from: first, to: second });
  } else {
    client.message({ type });
  }
}

const connect = {
  tcp(client) {
    const socket = net.connect(port, host, () => socket.write(`SUBSCRIBE ${stream}\r\n`));
    let waiting = Buffer.alloc(0);
    let answered = false;
    socket.on('data', (bytes) => {
      waiting = Buffer.concat([waiting, bytes]);
      if (!answered) {
        const line = waiting.indexOf('\n');
        if (line < 0) return;
        if (!waiting.toString('utf8', 0, line).startsWith('OK ')) throw new Error(waiting.toString());
        waiting = waiting.subarray(line + 1);
        answered = true;
      }
      while (waiting.length >= 4 && waiting.length >= 4 + waiting.readUInt32BE(0)) {
        const length = waiting.readUInt32BE(0);
        frame(client, waiting.subarray(4, 4 + length));
        waiting = waiting.subarray(4 + length);
      }
    });
    client.pause = () => socket.pause();
    client.resume = () => socket.resume();
  },

  websocket(client) {
    const { WebSocket } = require(path.join(packages, 'ws'));
    const socket = new WebSocket(`ws://${address}/ws/${stream}`);
    socket.on('message', (bytes, binary) => frame(client, binary && bytes));
    socket.on('close', (code) => client.told.packets || client.told.wrong.push(`closed with ${code}`));
    client.pause = () => socket._socket.pause();
    client.resume = () => socket._socket.resume();
  },

  sse(client) {
    const { EventSource } = require(path.join(packages, 'eventsource'));
    let open = Promise.resolve();
    // Reads only while it is not paused.
    const gated = async (url, init) => {
      const response = await fetch(url, init);
      const reader = response.body.getReader();
      const body = new ReadableStream({
        async pull(to) {
          await open;
          const { done, value } = await reader.read();
          done ? to.close() : to.enqueue(value);
        },
      }, { highWaterMark: 0 });
      return new Response(body, response);
    };
    const source = new EventSource(`http://${address}/sse/${stream}`, { fetch: client.pauses ? gated : fetch });
    source.onmessage = (event) => json(client)(event.data);
    for (const kind of KINDS.slice(1)) source.addEventListener(kind, (event) => json(client)(event.data));
    client.pause = () => (open = new Promise((resolve) => (client.resume = resolve)));
  },

  // Half of them begin with polling, the library's default.
  socketio(client, n) {
    const { io } = require(path.join(packages, 'socket.io-client'));
    const transports = client.pauses || n % 2 ? { transports: ['websocket'] } : {};
    const socket = io(`http://${address}`, { ...transports, forceNew: true });
    socket.on('connect', () => socket.emit('subscribe', { stream }, (answer) => {
      if (answer.error) throw new Error(answer.error);
    }));
    for (const kind of KINDS) socket.on(kind, (m) => client.message(m));
    client.pause = () => socket.io.engine.transport.ws._socket.pause();
    client.resume = () => socket.io.engine.transport.ws._socket.resume();
  },
};

(async () => {
  const clients = Array.from({ length: Number(count) }, (_, n) => new Client(n === 0 && pauseAt !== undefined));
  clients.forEach(connect[transport]);
  // What they got so far is worth more than nothing when they wait in vain.
  process.stdin.resume().on('end', () => clients.forEach((client) => client.finish()));
  await Promise.all(clients.map((client) => client.done));
  const lines = clients.map((client) => JSON.stringify({ ...client.told, digest: client.digest.digest('hex') }));
  process.stdout.write(lines.join('\n') + '\n', () => process.exit());
})();
