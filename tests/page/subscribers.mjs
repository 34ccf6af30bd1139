// A client of each kind that pages and programs have: says when all of them listen, and how each one ends.
//
//   node subscribers.mjs BASE

import { EventSource } from 'eventsource';
import { io } from 'socket.io-client';
import WebSocket from 'ws';

const [base] = process.argv.slice(2);
const ends = (what) => console.log(`${what} ended`);

const socket = new WebSocket(`${base.replace('http', 'ws')}/ws/main`);
const events = new EventSource(`${base}/sse/main`);
const session = io(base, { transports: ['websocket'] });
socket.on('close', (code) => ends(`websocket ${code}`));
events.addEventListener('error', () => {
  events.close(); // it would come again
  ends('sse');
});
session.on('disconnect', (reason) => ends(`socketio ${reason}`));
await Promise.all([
  new Promise((resolve) => socket.on('open', resolve)),
  new Promise((resolve) => events.addEventListener('open', resolve)),
  new Promise((resolve) => session.emit('subscribe', { stream: 'main' }, resolve)),
]);
console.log('all listen');
