// Binary between the official JavaScript clients and the gateway's Socket.IO layer: nested, empty, large, in events and in acks, by each transport.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { startEcho } from '../lib/echo.mjs';
import { proxy } from '../lib/proxy.mjs';
import { until } from '../lib/stack.mjs';

const VERSIONS = ['3.1', '4.0', '4.4', '4.6', '4.8'];
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };
const clients = Object.fromEntries(await Promise.all(VERSIONS.map(async (v) => [v, (await import(`socket.io-client-${v}`)).io])));

let echo;
const sockets = new Set();
before(async () => { echo = await startEcho(); });
after(async () => {
  for (const s of sockets) s.disconnect();
  await echo?.stop();
});

const bytes = (...values) => Buffer.from(values);
const whole = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
const ARGUMENTS = {
  'one buffer': [bytes(0, 1, 2, 0x1e, 0x62, 255)],
  'an empty buffer': [Buffer.alloc(0)],
  'buffers in objects and arrays, beside other values': [
    { z: bytes(1), list: [bytes(2), { deep: [[bytes(3)], null, true] }], text: 'ü€𝄞\u001e', number: -1.5e-7, none: null, nothing: {} },
    'second', [Uint8Array.of(4, 5), [], Buffer.alloc(0)], 7,
  ],
  'every kind of binary': [Uint8Array.of(1, 2), new Uint16Array([258]), new Float64Array([Math.PI]), whole(randomBytes(9)), new DataView(whole(bytes(9, 8)))],
  'a part of a larger buffer': [Buffer.from('0123456789').subarray(3, 7), new Uint8Array(whole(bytes(1, 2, 3, 4)), 1, 2)],
  'ten attachments': [Array.from({ length: 10 }, (_, i) => ({ i, data: randomBytes(i * 11) }))],
  '200 000 bytes': [{ before: 1, data: randomBytes(200000), after: 'x' }],
  'all byte values beside a date': [{ when: new Date(1700000000123), data: Buffer.from(Array.from({ length: 256 }, (_, i) => i)) }],
  'a date alone': [new Date(0)],
  'what looks like a placeholder': [{ _placeholder: true, num: 0 }],
  'no argument': [],
};

/** What has to arrive: binary as its bytes, dates as their text. */
function plain(value) {
  if (value instanceof ArrayBuffer) return `binary ${Buffer.from(value).toString('hex')}`;
  if (ArrayBuffer.isView(value)) return `binary ${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  return value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)])) : value;
}

async function open(version, transports, url = echo.url) {
  const socket = clients[version](url, { transports, forceNew: true, reconnection: false });
  sockets.add(socket);
  let why;
  socket.on('connect_error', (e) => { why = e; });
  await until(() => {
    if (why) throw why;
    return socket.connected;
  }, { timeout: 15000, what: 'the connection' });
  return socket;
}
const transportOf = (socket) => socket.io.engine.transport.name;
const asked = (socket, args) => new Promise((resolve) => socket.emit('message-with-ack', ...args, (...answer) => resolve(answer)));

for (const version of VERSIONS) {
  describe(`socket.io-client ${version}`, { concurrency: 3 }, () => {
    for (const [by, transports] of Object.entries(TRANSPORTS)) {
      test(`sends and gets binary by ${by}`, { timeout: 60000 }, async () => {
        const socket = await open(version, transports);
        await until(() => transportOf(socket) === transports.at(-1), { timeout: 15000, what: 'the transport' });
        const back = [];
        socket.on('message-back', (...args) => back.push(args));
        const names = Object.keys(ARGUMENTS);
        for (const name of names) socket.emit('message', ...ARGUMENTS[name]);
        const acks = await Promise.all(names.map((name) => asked(socket, ARGUMENTS[name])));
        for (const [i, name] of names.entries()) {
          const wanted = plain(ARGUMENTS[name]);
          assert.deepEqual(plain(back[i]), wanted, `${name}, in an event`);
          assert.deepEqual(plain(acks[i]), wanted, `${name}, in an ack`);
        }
        assert.equal(back.length, names.length);
        socket.disconnect();
      });
    }

    test('keeps binary whole and in order through an upgrade', { timeout: 60000 }, async () => {
      const way = await proxy(echo.url);
      way.hold(true);
      const socket = await open(version, TRANSPORTS.upgrade, way.url);
      const back = [], sent = [];
      let upgradedAt = Infinity;
      socket.on('message-back', (...args) => back.push(plain(args)));
      for (let i = 0; i < Math.min(upgradedAt + 50, 5000); i++) {
        const args = [i, randomBytes(i % 50), { nested: [randomBytes(3), i], more: randomBytes(300) }];
        sent.push(plain(args));
        socket.emit('message', ...args);
        if (i === 50) way.hold(false);
        if (upgradedAt === Infinity && transportOf(socket) === 'websocket') upgradedAt = i;
        if (sent.length - back.length > 10) await until(() => sent.length - back.length <= 10, { timeout: 15000, every: 1, what: 'the echo' });
      }
      assert.ok(upgradedAt > 50 && upgradedAt < Infinity, `upgraded at ${upgradedAt}`);
      await until(() => back.length === sent.length, { timeout: 15000, what: 'all echoes' });
      assert.deepEqual(back, sent);
      socket.disconnect();
      await way.close();
    });
  });
}
