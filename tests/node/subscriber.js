// A subscriber as one would write it with Node.js: joins a group, and leaves it when told to.
//
//   node subscriber.js GROUP PORT plain|native
//
// Prints "joined", then the number of each datagram as it comes; after the line "drop" on standard input it calls
// dropMembership and prints "dropped", and keeps the socket open until standard input closes.
'use strict';
const dgram = require('node:dgram');
const readline = require('node:readline');

const [group, port, format] = process.argv.slice(2);
const header = { native: 28, plain: 4 }[format];
const trailer = { native: 4, plain: 0 }[format];

const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true });
socket.on('message', (datagram) => {
  const reading = JSON.parse(datagram.subarray(header, datagram.length - trailer));
  console.log(reading.number);
});
socket.bind(Number(port), group, () => {
  socket.addMembership(group, '127.0.0.1');
  console.log('joined');
});

readline
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'drop') {
      socket.dropMembership(group, '127.0.0.1');
      console.log('dropped');
    }
  })
  .on('close', () => socket.close());
