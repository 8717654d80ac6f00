// polling.mjs: rows about GET and POST of a session.
import assert from 'node:assert/strict';
import { BAD_REQUEST, C, EIO, R, S, UNKNOWN_SID, judge, judgeAnswer, request, sleep, states } from './driver.mjs';

const JP = 'joined polling';
const TEXT = ['Content-Type: text/plain;charset=UTF-8'];
const pong = (id) => new RegExp(`^43${id}\\[\\{"ok":true`);
const row = (name, body, want, state = JP, lines) => ({ name: `${state}: ${name}`, state, send: { body, lines }, want });
const closed = C();
const PING = (id) => `42${id}["server.ping",{}]`;

const bodies = [
  row('an empty body', '', closed), row('an empty body', '', closed, 'polling'),
  ...['\x1e', '\x1e6', '6\x1e', '6\x1e\x1e6', '\x1e\x1e\x1e', '\x1e'.repeat(1000)].map((b) => row(`separators: ${JSON.stringify(b.slice(0, 20))}`, b, closed)),
  row('an event, then what is none: the event counts', `${PING(60)}\x1eabc\x1e${PING(61)}`, C('parse error', { replies: [pong(60)] })),
  row('an event, then an empty packet', `${PING(60)}\x1e`, C('parse error', { replies: [pong(60)] })),
  row('an event, then the end: what comes behind it is dropped', `${PING(60)}\x1e1\x1e${PING(61)}`, C('transport close', { post: [200, 'ok'], owed: false })),
  row('256 packets', Array(256).fill('6').join('\x1e'), S()),
  row('257 packets', Array(257).fill('6').join('\x1e'), closed),
  row('100,000 packets', Array(100000).fill('6').join('\x1e'), closed),
  row('65,536 bytes', '6'.padEnd(65536, 'x'), S(), 'polling'),
  row('1,000,000 bytes', '6'.padEnd(1000000, 'x'), S()),
  row('1,000,000 bytes of base64', `b${'AAAA'.repeat(249999)}`, closed),
  row('an event of 900,000 bytes that is refused', `4262["message.send",{"to":"bob","text":"${'x'.repeat(900000)}"}]`, S(/^4362\[\{"ok":false/)),
  row('the framing of version 3', '22:42["server.ping",{}]', closed),
  row('a body d=… as of JSONP', 'd=42["server.ping",{}]', closed),
];

const types = ['application/octet-stream', 'Application/Octet-Stream', 'application/octet-stream; x=y'].flatMap((type) => ['polling', JP].map((state) => row(`Content-Type ${type}`, '6', closed, state, [`Content-Type: ${type}`])));
const otherTypes = ['text/html', 'application/json', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '', 'x'.repeat(300)].map((type) => row(`Content-Type ${type.slice(0, 40)}`, PING(63), S(pong(63)), JP, [`Content-Type: ${type}`]));
const noType = [row('no Content-Type', PING(63), S(pong(63)), JP, []), row('Content-Encoding gzip is not undone', PING(63), S(pong(63)), JP, [...TEXT, 'Content-Encoding: gzip'])];

/* A body that begins like a request line ends its connection unread (see realtime/polling.c); the session goes on. */
const requestLike = ['POST / HTTP/1.1\r\n\r\n', 'ABC', ' 42[]', '\r\n42[]', '\t6', 'post x', '\u0000'].map((body) => ({
  name: `joined polling: a body that begins like a request: ${JSON.stringify(body.slice(0, 12))}`,
  async play(t) {
    const s = await states[JP](t);
    const c = await t.tcp();
    c.write(request('POST', s.url(), TEXT, body));
    await c.ended();
    const r = c.take();
    assert.ok(r === undefined || r.status >= 400, JSON.stringify(r));
    await judge(s, S());
  },
}));

/* Sizes over the limit: 413, and the session goes on. */
const oversize = [
  ['polling', 65537, true], [JP, 1000001, true], [JP, 1000001, false], [JP, 1000000000, false], ['polling', 999999999999999, false],
].map(([state, length, complete]) => ({
  name: `${state}: a body of ${length} bytes, ${complete ? 'sent' : 'announced'}`,
  async play(t) {
    const s = await states[state](t);
    const c = await t.tcp();
    const begun = Date.now();
    c.write(request('POST', s.url(), [...TEXT, `Content-Length: ${length}`]));
    if (complete) await c.pour('6'.padEnd(length, 'x'));
    const r = await c.answer();
    assert.deepEqual([r?.status, r?.body], [413, '']);
    assert.ok(complete || Date.now() - begun < 10000);
    if (complete) await c.ended();
    c.destroy();
    await judge(s, S());
  },
}));
oversize.push({
  name: 'joined polling: a body of 10^9 bytes, sent until it is cut',
  async play(t) {
    const s = await states[JP](t);
    const c = await t.tcp();
    c.write(request('POST', s.url(), [...TEXT, 'Content-Length: 1000000000']));
    const part = Buffer.alloc(1000000, 0x36);
    let sent = 0;
    for (; !c.end && c.socket.writable && sent < 40; sent++) await c.pour(part);
    await c.ended();
    assert.ok(sent < 40, 'it is not read to its end');
    await judge(s, S());
  },
});

const told = async (s) => { // the waiting GET is answered with the end
  const r = await s.held.answer();
  assert.deepEqual([r?.status, r?.body], [200, '1']);
};

const ways = [
  {
    name: 'held: another GET', want: 'C',
    async play(t) {
      const s = await states.held(t);
      const { r } = await t.exchange(request('GET', s.url()));
      assert.deepEqual([r?.status, r?.body], [400, '']);
      await told(s);
      s.gone('transport error');
      await s.unknown();
    },
  },
  {
    name: 'posting: another POST',
    async play(t) {
      const s = await states.posting(t);
      const { r } = await t.exchange(request('POST', s.url(), TEXT, '6'));
      assert.deepEqual([r?.status, r?.body], [400, BAD_REQUEST]);
      s.gone('transport error');
      await s.unknown();
      s.posting.write('x'.repeat(38));
      const late = await s.posting.answer();
      assert.ok(late === undefined || late.status === 400, JSON.stringify(late));
    },
  },
  {
    name: 'posting: a GET meanwhile is held, and hears the ack',
    async play(t) {
      const s = await states.posting(t);
      const c = await t.tcp();
      c.write(request('GET', s.url()));
      s.posting.write(`64["server.ping",{}]`.padEnd(38));
      assert.deepEqual([(await s.posting.answer())?.body], ['ok']);
      assert.match((await c.answer()).body, /^4364\[\{"ok":true/);
      await judge(s, S());
    },
  },
  ...['fin', 'destroy', 'reset'].map((way) => ({
    name: `held: its connection ends by ${way}`,
    async play(t) {
      const s = await states.held(t);
      s.held[way]();
      s.gone('transport error');
      await sleep(300);
      await s.unknown();
    },
  })),
  {
    name: 'held: reset, and in the same moment another GET',
    async play(t) {
      const s = await states.held(t);
      s.held.reset();
      const { r } = await t.exchange(request('GET', s.url()));
      assert.equal(r?.status, 400);
      assert.ok(r.body === '' || r.body === UNKNOWN_SID, r.body);
      s.gone('transport error');
      await s.unknown();
    },
  },
  ...['fin', 'destroy', 'reset'].map((way) => ({
    name: `posting: its connection ends by ${way}`,
    async play(t) {
      const s = await states.posting(t);
      s.posting[way]();
      s.gone('transport error');
      await sleep(300);
      await s.unknown();
    },
  })),
  {
    name: 'held: POST of 1',
    async play(t) {
      const s = await states.held(t);
      const r = await s.post('1');
      assert.deepEqual([r?.status, r?.body], [200, 'ok']);
      const noop = await s.held.answer();
      assert.deepEqual([noop?.status, noop?.body], [200, '6']);
      s.gone('transport close');
      await s.unknown();
    },
  },
  {
    name: 'held: POST of what is undecodable: the GET hears the end',
    async play(t) {
      const s = await states.held(t);
      const r = await s.post('abc');
      assert.deepEqual([r?.status, r?.body], [400, BAD_REQUEST]);
      await told(s);
      s.gone('parse error');
      await s.unknown();
    },
  },
  {
    name: 'held: POST of a client\'s ping',
    async play(t) {
      const s = await states.held(t);
      assert.equal((await s.post('2'))?.status, 400);
      await told(s);
      s.gone('parse error');
      await s.unknown();
    },
  },
  {
    name: 'held: a pipelined second GET in the segment of the first',
    async play(t) {
      const s = await states[JP](t);
      const c = await t.tcp();
      c.write(Buffer.concat([request('GET', s.url()), request('GET', s.url())]));
      await sleep(200);
      await s.post(PING(65));
      const first = await c.answer();
      assert.match(first.body, /^4365\[/);
      await s.post(PING(66)); // the second one is read once the first is answered
      const second = await c.answer();
      if (second) assert.match(second.body, /^4366\[/);
      if (!second) {
        s.gone('transport error');
        return;
      }
      await judge(s, S());
    },
  },
  {
    name: 'held: PUT, DELETE and an unknown transport beside it',
    async play(t) {
      const s = await states.held(t);
      for (const data of [request('PUT', s.url(), [], ''), request('DELETE', s.url()), request('GET', s.url('x')), request('GET', s.url('websocket'))]) {
        assert.equal((await t.exchange(data)).r?.status, 400);
      }
      await s.post(PING(67));
      assert.match((await s.held.answer()).body, /^4367\[/);
      await judge(s, S());
    },
  },
  {
    name: 'joined polling: the end is told to one poll only',
    async play(t) {
      const s = await states[JP](t);
      await s.post('abc');
      s.gone('parse error');
      const posted = await s.post('6');
      assert.deepEqual([posted?.status, posted?.body], [400, UNKNOWN_SID]);
      const r = await s.get();
      assert.deepEqual([r?.status, r?.body], [200, '1']);
      await s.unknown();
    },
  },
  {
    name: 'joined polling: nobody asks for the end: it is forgotten', slow: true,
    async play(t) {
      const s = await states[JP](t);
      await s.post('abc');
      s.gone('parse error');
      await sleep(32000);
      await s.unknown();
    },
  },
  {
    name: 'joined polling: Expect: 100-continue',
    async play(t) {
      const s = await states[JP](t);
      const c = await t.tcp();
      const body = PING(68);
      c.write(request('POST', s.url(), [...TEXT, 'Expect: 100-continue', `Content-Length: ${body.length}`]));
      assert.equal((await c.answer())?.status, 100);
      c.write(body);
      await judgeAnswer(c, R(200, 'ok'));
      await judge(s, S(pong(68)));
    },
  },
  {
    name: 'joined polling: Expect: 100-continue with too much',
    async play(t) {
      const s = await states[JP](t);
      const { r } = await t.exchange(request('POST', s.url(), [...TEXT, 'Expect: 100-continue', 'Content-Length: 1000001']));
      assert.equal(r?.status, 413);
      await judge(s, S());
    },
  },
  {
    name: 'joined polling: Expect of something else',
    async play(t) {
      const s = await states[JP](t);
      const c = await t.sent(request('POST', s.url(), [...TEXT, 'Expect: 200-maybe'], PING(68)));
      let r = await c.answer();
      if (r?.status === 100) r = await c.answer();
      assert.deepEqual([r?.status, r?.body], [200, 'ok']);
      await judge(s, S(pong(68)));
    },
  },
  {
    name: 'joined polling: POST by HTTP/1.0',
    async play(t) {
      const s = await states[JP](t);
      const c = await t.sent(request('POST', s.url(), TEXT, PING(68)).toString().replace('HTTP/1.1', 'HTTP/1.0'));
      const r = await c.answer();
      assert.deepEqual([r?.status, r?.body], [200, 'ok']);
      await c.ended();
      await judge(s, S(pong(68)));
    },
  },
  {
    name: 'joined polling: a body in pieces',
    async play(t) {
      const s = await states[JP](t);
      const data = request('POST', s.url(), TEXT, PING(68));
      const c = await t.tcp();
      for (let i = 0; i < data.length; i += 9) {
        c.write(data.subarray(i, i + 9));
        await sleep(5);
      }
      await judgeAnswer(c, R(200, 'ok'));
      await judge(s, S(pong(68)));
    },
  },
  {
    name: 'joined polling: a byte of body every 300 ms is cut', slow: true,
    async play(t) {
      const s = await states[JP](t);
      const c = await t.sent(request('POST', s.url(), [...TEXT, 'Content-Length: 1000']));
      const begun = Date.now();
      while (!c.end && Date.now() - begun < 40000) {
        c.write('6');
        await sleep(300);
      }
      assert.ok(c.end, 'it is cut');
      assert.ok(Date.now() - begun > 10000, 'it gets its time');
      s.gone('transport error');
      await s.unknown();
    },
  },
  {
    name: 'joined polling: a body that never comes', slow: true,
    async play(t) {
      const s = await states[JP](t);
      const c = await t.sent(request('POST', s.url(), [...TEXT, 'Content-Length: 1000']));
      await c.ended(40000);
      s.gone('transport error');
      await s.unknown();
    },
  },
  {
    name: 'joined polling: ten POSTs and a held GET by different connections, in turn',
    async play(t) {
      const s = await states.held(t);
      for (let i = 0; i < 10; i++) {
        const { r } = await t.exchange(request('POST', s.url(), TEXT, '6'));
        assert.equal(r?.body, 'ok');
      }
      await s.post(PING(69));
      assert.match((await s.held.answer()).body, /^4369\[/);
      await judge(s, S());
    },
  },
  {
    name: 'joined polling: poll and WebSocket of the same client at once are two sessions',
    async play(t) {
      const [a, b] = [await states.held(t), await states['joined ws'](t)];
      assert.notEqual(a.sid, b.sid);
      await b.send('1');
      await judge(b, C('transport close'));
      await a.post(PING(69));
      assert.match((await a.held.answer()).body, /^4369\[/);
      await judge(a, S());
    },
  },
  {
    name: 'polling: the sid of a WebSocket session',
    async play(t) {
      const s = await states['joined ws'](t);
      for (const data of [request('GET', s.url()), request('POST', s.url(), TEXT, '6'), request('PUT', s.url(), [], '')]) {
        const { r } = await t.exchange(data);
        assert.deepEqual([r?.status, r?.body], [400, BAD_REQUEST]);
      }
      await judge(s, S());
    },
  },
  {
    name: 'polling: b64=1 and b64=0 change nothing for text',
    async play(t) {
      for (const query of ['&b64=1', '&b64=0', '&b64=']) await judge(await t.polling(query), S());
    },
  },
  {
    name: 'polling: j=0 (JSONP) is the application\'s',
    play: async (t) => judge(await t.polling('&j=0'), S()),
  },
  {
    name: 'polling: a handshake that is reset before it is answered',
    async play(t) {
      const c = await t.sent(request('GET', EIO));
      c.reset();
      t.maybe('connect timeout'); // its session, if the gateway had read the request, is joined by nobody
    },
  },
];

export const rows = [...bodies, ...types, ...otherTypes, ...noType, ...requestLike, ...oversize, ...ways];
