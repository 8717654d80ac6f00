// The official JavaScript client against the echo server's profile for it: what its own tests want of a server, by each transport.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import { Echo, soon } from './echo.mjs';

const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };

let echo;
before(async () => { echo = await Echo.start({ profile: 'client-suite' }); });
after(() => echo.stop());

test('it pings every two seconds and takes the usual payload', async () => {
  const { opened } = await echo.polling('/socket.io/');
  assert.deepEqual([opened.pingInterval, opened.pingTimeout, opened.maxPayload], [2000, 20000, 1000000]);
});

for (const [by, transports] of Object.entries(TRANSPORTS)) {
  describe(`by ${by}`, () => {
    const dial = (t, nsp = '/', options = {}) => {
      const socket = io(echo.url + nsp, { transports, forceNew: true, reconnection: false, ...options });
      t.after(() => socket.disconnect());
      return socket;
    };
    const event = (socket, name) => soon(new Promise((resolve, reject) => {
      socket.once(name, (...args) => resolve(args));
      if (name !== 'connect_error') socket.once('connect_error', reject);
    }), `event ${name}`);
    const ask = (socket, name, ...args) => soon(socket.emitWithAck(name, ...args), `the ack of ${name}`);
    const dated = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

    // What is emitted on /, and the event with its arguments that comes back.
    const answers = [
      ['hi', [], 'hi', []],
      ['false', [], 'false', [false]],
      ['doge', [], 'doge', [Buffer.from('asdfasdf')]],
      ['getbin', [], 'takebin', [Buffer.from('asdfasdf')]],
      ['buffa', [Buffer.from([1, 2])], 'buffack', []],
      ['jsonbuff', [{ hello: 'lol', message: Buffer.from([1]), goodbye: 'gotcha' }], 'jsonbuff-ack', []],
      ['blob', [Buffer.from([1, 2])], 'back', []],
      ['jsonblob', [{ hello: 'lol', message: Buffer.from([1]), goodbye: 'gotcha' }], 'jsonblob-ack', []],
    ];
    for (const [name, args, reply, expected] of answers) {
      test(`${name} brings ${reply}`, async (t) => {
        const socket = dial(t);
        const got = event(socket, reply);
        socket.emit(name, ...args);
        assert.deepEqual(await got, expected);
      });
    }

    test('what is not as it should be brings nothing', async (t) => {
      const socket = dial(t);
      const seen = [];
      socket.onAny((name) => seen.push(name));
      socket.emit('buffa', 'text');
      socket.emit('buffa', { _placeholder: true, num: 0 });
      socket.emit('jsonbuff', { hello: 'lol', message: 'text', goodbye: 'gotcha' });
      socket.emit('jsonblob', { hello: 'x', message: Buffer.from([1]), goodbye: 'gotcha' });
      socket.emit('abuff2', 'first');
      socket.emit('blob3', Buffer.from([1]));
      socket.emit('unknown');
      await ask(socket, 'echo', 1);
      assert.deepEqual(seen, []);
    });

    test('bytes keep their place among events', async (t) => {
      const socket = dial(t);
      const first = event(socket, 'abuff2-ack'), second = event(socket, 'blob3-ack');
      socket.emit('abuff1', Buffer.from([1]));
      socket.emit('abuff2', 'please arrive second');
      await first;
      socket.emit('blob1', Buffer.from([1]));
      socket.emit('blob2', 'second');
      socket.emit('blob3', Buffer.from([3]));
      await second;
    });

    test('text beyond ASCII', async (t) => {
      const socket = dial(t);
      const got = [];
      const all = new Promise((resolve) => socket.on('takeUtf8', (text) => { if (got.push(text) === 5) resolve(); }));
      socket.emit('getUtf8');
      await soon(all, 'five texts');
      assert.deepEqual(got, ['てすと', 'Я Б Г Д Ж Й', 'Ä ä Ü ü ß', 'utf8 — string', 'utf8 — string']);
    });

    test('dates come as texts: in an ack, alone and in an object', async (t) => {
      const socket = dial(t);
      assert.match(await ask(socket, 'getAckDate', { test: true }), dated);
      const alone = event(socket, 'takeDate'), inside = event(socket, 'takeDateObj');
      socket.emit('getDate');
      socket.emit('getDateObj');
      assert.match((await alone)[0], dated);
      assert.match((await inside)[0].date, dated);
    });

    test('echo acknowledges with what it got', async (t) => {
      const socket = dial(t);
      for (const value of [123, 'text', null, { a: [1, { b: 2 }] }]) assert.deepEqual(await ask(socket, 'echo', value), value);
      assert.deepEqual(await ask(socket, 'echo', Buffer.from([1, 2, 3])), Buffer.from([1, 2, 3]));
    });

    test('the server asks for an ack and looks at it', async (t) => {
      const socket = dial(t);
      let given = 0;
      socket.on('ack', (answer) => (given++ === 0 ? answer(4, { test: true }) : answer(5, { test: true })));
      const got = event(socket, 'got it');
      socket.emit('ack');
      socket.emit('ack');
      await got;
      assert.equal(given, 2);
    });

    test('the id of a connection, in both namespaces that tell it', async (t) => {
      for (const nsp of ['/', '/foo']) {
        const socket = dial(t, nsp);
        assert.equal(await ask(socket, 'getId'), socket.id);
        assert.notEqual(socket.id, socket.io.engine.id);
      }
    });

    for (const nsp of ['/timeout_socket', '/valid', '/asd']) {
      test(`${nsp} can be connected to`, async (t) => {
        await event(dial(t, nsp), 'connect');
      });
    }

    test('the handshake: query and auth', async (t) => {
      const query = { e: 'f', '&a': '&=?a', ä: '€', empty: '' }, auth = { a: 'b', n: 1 };
      const [handshake] = await event(dial(t, '/abc', { query, auth }), 'handshake');
      for (const [key, value] of Object.entries(query)) assert.equal(handshake.query[key], value, key);
      assert.equal(handshake.query.a, undefined);
      assert.deepEqual(handshake.auth, auth);
      const told = await ask(dial(t, '/?c=d'), 'getHandshake');
      assert.equal(told.query.c, 'd');
      assert.deepEqual((await event(dial(t, '/abc'), 'handshake'))[0].auth, {});
    });

    test('refusals: by the namespace, by the query, of the unknown', async (t) => {
      const refused = async (nsp, options) => (await event(dial(t, nsp, options), 'connect_error'))[0].message;
      assert.equal(await refused('/no'), 'Auth failed (custom namespace)');
      assert.equal(await refused('/', { query: { fail: 1 } }), 'Auth failed (main namespace)');
      assert.equal(await refused('/unknown'), 'Invalid namespace');
      await event(dial(t, '/foo', { query: { fail: 1 } }), 'connect');
    });

    test('a session takes its time to open', async (t) => {
      const socket = dial(t, '/', { timeout: 0 });
      assert.equal((await event(socket, 'connect_error'))[0].message, 'timeout');
    });

    test('several namespaces on one session; one leaves, the other stays; it comes back', async (t) => {
      const one = dial(t);
      await event(one, 'connect');
      const two = one.io.socket('/foo');
      t.after(() => two.disconnect());
      await event(two, 'connect');
      assert.equal(one.io, two.io);
      two.disconnect();
      assert.equal(await ask(one, 'echo', 'still'), 'still');
      const again = event(two, 'connect');
      two.connect();
      await again;
      assert.equal(await ask(two, 'getId'), two.id);
    });

    test('a client that lost its session reconnects, under a new id', async (t) => {
      const socket = dial(t, '/', { reconnection: true, reconnectionDelay: 10 });
      await event(socket, 'connect');
      const { id } = socket, back = event(socket, 'connect');
      socket.io.engine.close();
      await back;
      assert.notEqual(socket.id, id);
      assert.ok(!socket.recovered);
      assert.equal(await ask(socket, 'echo', 1), 1);
    });

    test('events are sent again until they are acknowledged, in order', async (t) => {
      const socket = dial(t, '/', { retries: 3, ackTimeout: 10000 });
      const done = await soon(Promise.all([1, 2, 3].map((n) => new Promise((resolve) => socket.emit('echo', n, (error, value) => resolve([error, value]))))), 'acks');
      assert.deepEqual(done, [[null, 1], [null, 2], [null, 3]]);
      const silent = dial(t, '/', { retries: 3, ackTimeout: 50 });
      await event(silent, 'connect');
      let asked = 0;
      silent.on('ack', () => asked++);
      await soon(new Promise((resolve) => silent.emit('ack', resolve)), 'giving up');
      assert.equal(await soon(new Promise((resolve) => silent.timeout(5000).emit('echo', 'x', (_, value) => resolve(value))), 'an ack'), 'x');
      assert.equal(asked, 4, 'each try arrived');
    });

    test('the connection outlives pings', async (t) => {
      const socket = dial(t);
      await event(socket, 'connect');
      await soon(new Promise((resolve) => socket.io.on('ping', resolve)), 'a ping');
      assert.equal(await ask(socket, 'echo', 'after'), 'after');
    });
  });
}
