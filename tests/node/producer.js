// A producer as one would write it with Node.js: numbered datagrams to a group, until standard input closes.
//
//   node producer.js GROUP PORT plain|native
//
// plain: the number (u32, big-endian), then JSON. native: the datagram of docs/wire-format.md around the same JSON.
// The path behind it is rough: every 10th datagram is sent twice, every 7th changes places with the next.
// At the end it prints how many numbers it has used.
'use strict';
const dgram = require('node:dgram');

const [group, port, format] = process.argv.slice(2);
const INTERVAL_MS = 2;

const CRC_TABLE = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const session = Date.now() >>> 0;

function native(number, payload) {
  const datagram = Buffer.alloc(28 + payload.length + 4);
  datagram.write('TC', 0);
  datagram[2] = 0x10; // version 1, kind 0: data
  datagram.writeUInt32BE(7, 4); // stream
  datagram.writeUInt32BE(session, 8);
  datagram.writeBigUInt64BE(BigInt(number), 12);
  datagram.writeBigUInt64BE(BigInt(Date.now()) * 1000n, 20);
  payload.copy(datagram, 28);
  datagram.writeUInt32BE(crc32(datagram.subarray(0, -4)), datagram.length - 4);
  return datagram;
}

function plain(number, payload) {
  const datagram = Buffer.alloc(4 + payload.length);
  datagram.writeUInt32BE(number);
  payload.copy(datagram, 4);
  return datagram;
}

const make = { native, plain }[format];
const socket = dgram.createSocket('udp4');
let number = 0;

function next() {
  const reading = Buffer.from(JSON.stringify({ number, temperature: 20 + Math.sin(number / 50) }));
  return make(number++, reading);
}

socket.bind(0, '127.0.0.1', () => {
  socket.setMulticastInterface('127.0.0.1');
  socket.setMulticastTTL(0);
  const send = (datagram) => socket.send(datagram, port, group);
  const timer = setInterval(() => {
    const swapped = number % 7 === 6;
    const twice = number % 10 === 9;
    const datagrams = swapped ? [next(), next()].reverse() : [next()];
    datagrams.forEach(send);
    if (twice) send(datagrams[0]);
  }, INTERVAL_MS);
  process.stdin.resume().on('end', () => {
    clearInterval(timer);
    console.log(number);
    socket.close();
  });
});
