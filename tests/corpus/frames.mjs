// frames.mjs: rows about WebSocket frames, and about UTF-8 in all that is text.
import assert from 'node:assert/strict';
import { C, S, WS, Ws, bytes, closeFrame, frame, handshakeLines, judge, request, sleep, states } from './driver.mjs';

const J = 'joined ws';
const raw = (...parts) => ({ raw: Buffer.concat(parts.map(bytes)) });
const row = (name, send, want, state = J, more = {}) => ({ name: `${state}: ${name}`, state, send, want, ...more });
const PING = (id) => `42${id}["server.ping",{}]`;
const pong = (id) => new RegExp(`^43${id}\\[\\{"ok":true`);
const protocol = C('transport close', { code: 1002 });
const cut = C('transport close', { code: 0 });
const tooLarge = C('transport error', { code: 1009 });
const tooMany = C('transport error', { code: 1008 });
const notUtf8 = C('transport close', { code: 1007 });
const byPeer = (code = 1005) => C('transport close', { code });
const fragments = (payload, n, opcode = 1) => Buffer.concat(Array.from({ length: n }, (_, i) => frame(i === 0 ? opcode : 0, payload.slice(Math.floor(payload.length * i / n), Math.floor(payload.length * (i + 1) / n)), { fin: i === n - 1 })));

/* A frame that is begun and never completed: the peer cannot even answer the close frame. */
const MUTE = { mute: true, slow: true };

/* ---- headers of frames ---- */

const headers = [
  ...[['RSV1', 0x40], ['RSV2', 0x20], ['RSV3', 0x10], ['all RSV bits', 0x70]].flatMap(([name, rsv]) => [
    row(`${name} on text`, raw(frame(1, '6', { rsv })), protocol), row(`${name} on a ping`, raw(frame(9, 'x', { rsv })), protocol), row(`${name} on a close frame`, raw(frame(8, '', { rsv })), protocol)]),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((op) => row(`opcode ${op}`, raw(frame(op, 'x')), protocol)),
  row('a continuation of nothing', raw(frame(0, 'x')), protocol),
  row('a last continuation of nothing behind a whole message', raw(frame(1, '6'), frame(0, 'x', { fin: true })), protocol),
  row('text within a fragmented message', raw(frame(1, '6', { fin: false }), frame(1, '6')), protocol),
  row('bytes within a fragmented text', raw(frame(1, '6', { fin: false }), frame(2, 'x')), protocol),
  row('a fragmented ping', raw(frame(9, 'x', { fin: false })), protocol),
  row('a fragmented close frame', raw(frame(8, '', { fin: false })), protocol),
  row('a ping of 125 bytes', raw(frame(9, 'x'.repeat(125))), S()),
  row('a ping of 126 bytes', raw(frame(9, 'x'.repeat(126))), cut),
  row('a ping of 70,000 bytes', raw(frame(9, 'x'.repeat(70000))), cut),
  row('a close frame of 126 bytes', raw(frame(8, 'x'.repeat(126))), cut),
  row('a length of 5 in 2 bytes', raw(frame(1, '6xxxx', { wide: 2 })), S()),
  row('a length of 5 in 8 bytes', raw(frame(1, '6xxxx', { wide: 8 })), S()),
  row('a length of 300 in 8 bytes', raw(frame(1, '6'.padEnd(300), { wide: 8 })), S()),
  row('a length of 2^63', raw(frame(1, 'x'.repeat(600), { length: 1n << 63n })), cut),
  row('a length of 2^64-1', raw(frame(1, 'x'.repeat(600), { length: (1n << 64n) - 1n })), cut),
  row('a length of 2^63-1', raw(frame(1, 'x'.repeat(600), { length: (1n << 63n) - 1n })), tooLarge, J, MUTE),
  row('a length of 2^32', raw(frame(1, 'x'.repeat(600), { length: 1n << 32n })), tooLarge, J, MUTE),
  row('a length of 2^32+3, to wrap', raw(frame(1, '6xx'.padEnd(600), { length: (1n << 32n) + 3n })), tooLarge, J, MUTE),
  row('unmasked text', raw(frame(1, '6', { mask: false })), S()),
  row('an unmasked ping', raw(frame(9, 'x', { mask: false })), S()),
  row('an unmasked event', raw(frame(1, PING(70), { mask: false })), S(pong(70))),
  row('a mask of zeros', raw(frame(1, PING(70), { key: Buffer.alloc(4) })), S(pong(70))),
  row('an unasked pong', raw(frame(10, 'x')), S()),
  row('a thousand pings', raw(...Array.from({ length: 1000 }, () => frame(9, 'p'))), S()),
  row('HTTP behind the handshake', raw(request('GET', '/livez')), C('transport close', { code: 1002 })),
  row('nothing but 0xff', raw(Buffer.alloc(3000, 0xff)), protocol),
  row('nothing but zeros', raw(Buffer.alloc(3000)), protocol),
];

/* ---- sizes, fragments ---- */

const sizes = [
  row('65,536 bytes', raw(frame(1, '6'.padEnd(65536, 'x'))), S(), 'ws'),
  row('65,537 bytes', raw(frame(1, '6'.padEnd(65537, 'x'))), tooLarge, 'ws'),
  row('65,537 bytes in two fragments', raw(fragments('6'.padEnd(65537, 'x'), 2)), tooLarge, 'ws'),
  row('65,537 bytes of an attachment', raw(frame(2, Buffer.alloc(65537))), tooLarge, 'ws'),
  row('1,000,000 bytes', raw(frame(1, '6'.padEnd(1000000, 'x'))), S()),
  row('1,000,001 bytes', raw(frame(1, '6'.padEnd(1000001, 'x'))), tooLarge),
  row('1,000,000 bytes in 100 fragments', raw(fragments('6'.padEnd(1000000, 'x'), 100)), S()),
  row('1,000,001 bytes in 100 fragments', raw(fragments('6'.padEnd(1000001, 'x'), 100)), tooLarge),
  row('1,000,001 announced, 600 sent', raw(frame(1, '6'.padEnd(600, 'x'), { length: 1000001 })), tooLarge, J, MUTE),
  row('600,000 bytes, then 600,000 announced', raw(frame(1, '6'.padEnd(600000, 'x'), { fin: false }), frame(0, 'x'.repeat(600), { length: 600000 })), tooLarge, J, MUTE),
  row('10 MB beyond the limit', raw(frame(1, '6'.padEnd(11000000, 'x'))), tooLarge),
  row('an event in fragments of one byte', raw(fragments(PING(71), PING(71).length)), S(pong(71))),
  row('an event of two fragments with a ping, a pong and bytes in front', raw(frame(1, PING(71).slice(0, 5), { fin: false }), frame(9, 'a'), frame(10, 'b'), frame(0, PING(71).slice(5), { fin: true })), S(pong(71))),
  row('an attachment of three fragments with pings between', raw(frame(1, '451-72["server.ping",{"_placeholder":true,"num":0}]'), frame(2, 'a', { fin: false }), frame(9, '1'), frame(0, 'b', { fin: false }), frame(9, '2'), frame(0, 'c')), S(/^4372\[\{"ok":false/)),
  row('an empty first fragment', raw(frame(1, '', { fin: false }), frame(0, PING(71))), S(pong(71))),
  row('an empty last fragment', raw(frame(1, PING(71), { fin: false }), frame(0, '')), S(pong(71))),
  row('empty fragments between', raw(frame(1, PING(71).slice(0, 4), { fin: false }), frame(0, '', { fin: false }), frame(0, '', { fin: false }), frame(0, PING(71).slice(4))), S(pong(71))),
  row('a message of two empty fragments', raw(frame(1, '', { fin: false }), frame(0, '')), C()),
  row('an empty attachment', raw(frame(1, '451-72["server.ping",{"_placeholder":true,"num":0}]'), frame(2, '')), S(/^4372\[\{"ok":false/)),
  row('an attachment of two empty fragments', raw(frame(1, '451-72["server.ping",{"_placeholder":true,"num":0}]'), frame(2, '', { fin: false }), frame(0, '')), S(/^4372\[\{"ok":false/)),
  row('1,000 fragments', raw(fragments('6'.padEnd(1000, 'x'), 1000)), S()),
  row('1,001 fragments', raw(fragments('6'.padEnd(1001, 'x'), 1001)), tooMany),
  row('1,001 fragments of bytes', raw(fragments('x'.repeat(1001), 1001, 2)), tooMany),
  row('1,000 empty fragments', raw(frame(1, '6', { fin: false }), ...Array.from({ length: 998 }, () => frame(0, '', { fin: false })), frame(0, 'x')), S()),
  row('10^6 fragments of one byte', raw(frame(1, '6', { fin: false }), ...Array.from({ length: 1000 }, () => Buffer.concat(Array.from({ length: 1000 }, () => frame(0, 'x', { fin: false, key: Buffer.alloc(4) }))))), tooMany),
  row('10^5 empty fragments', raw(frame(1, '6', { fin: false }), Buffer.concat(Array.from({ length: 100000 }, () => frame(0, '', { fin: false, key: Buffer.alloc(4) })))), tooMany),
  row('fragments of several messages, 2,000 in all', raw(...Array.from({ length: 10 }, () => fragments('6'.padEnd(200, 'x'), 200))), S()),
];

/* ---- close frames of the client: the codes that a client may send are answered with the same ---- */

const closeRows = [
  ...[undefined, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999].map((code) => row(`close ${code ?? 'without a code'}`, raw(closeFrame(code)), byPeer(code))),
  ...[0, 999, 1004, 1005, 1006, 1012, 1015, 1016, 1100, 2000, 2999, 5000, 65535].map((code) => row(`close ${code}, which nobody may send`, raw(closeFrame(code)), protocol)),
  row('close with a reason', raw(closeFrame(1000, 'bye')), byPeer(1000)),
  row('close with a reason of 123 bytes', raw(closeFrame(1000, 'x'.repeat(123))), byPeer(1000)),
  row('close with a reason that is not UTF-8', raw(closeFrame(1000, Buffer.from([0xff, 0xfe]))), cut),
  row('close with a payload of one byte', raw(frame(8, 'x')), protocol),
  row('two close frames', raw(closeFrame(1000), closeFrame(1001)), byPeer(1000)),
  row('an event behind a close frame', raw(closeFrame(1000), frame(1, PING(73))), byPeer(1000)),
  row('a close frame within a fragmented message', raw(frame(1, '42', { fin: false }), closeFrame(1000)), byPeer(1000)),
  row('a close frame before CONNECT', raw(closeFrame(1000)), byPeer(1000), 'ws'),
];

/* ---- UTF-8 ---- */

const invalid = [
  ['a lone continuation', [0x80]], ['0xff', [0xff]], ['0xfe', [0xfe]], ['overlong NUL, 2 bytes', [0xc0, 0x80]], ['overlong /, 2 bytes', [0xc1, 0xaf]], ['overlong, 3 bytes', [0xe0, 0x80, 0xaf]], ['overlong, 4 bytes', [0xf0, 0x80, 0x80, 0xaf]], ['a high surrogate', [0xed, 0xa0, 0x80]], ['a low surrogate', [0xed, 0xbf, 0xbf]],
  ['a pair of surrogates (CESU-8)', [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]], ['U+110000', [0xf4, 0x90, 0x80, 0x80]], ['five bytes', [0xf8, 0x88, 0x80, 0x80, 0x80]], ['2 bytes truncated', [0xc3]], ['3 bytes truncated', [0xe2, 0x82]], ['4 bytes truncated', [0xf0, 0x9f, 0x98]], ['a first byte, then ASCII', [0xc3, 0x28]],
];
const around = (before, list, after) => Buffer.concat([bytes(before), Buffer.from(list), bytes(after)]);
const utf8Rows = [
  ...invalid.flatMap(([name, list]) => [
    row(`an event with ${name}`, raw(frame(1, around('4274["server.ping","', list, '"]'))), notUtf8),
    { name: `joined polling: an event with ${name}`, state: 'joined polling', send: { body: around('4274["server.ping","', list, '"]') }, want: C() },
  ]),
  ...['ws', 'polling'].flatMap((state) => [['an auth object', '40{"token":"', '"}'], ['a namespace', '40/', ',{}'], ['an Engine.IO type', '', '42[]'], ['a base64 attachment', 'b', '']].map(([name, before, after]) => (state === 'ws'
    ? row(`0xc0 0x80 in ${name}`, raw(frame(1, around(before, [0xc0, 0x80], after))), notUtf8, 'ws') : { name: `polling: 0xc0 0x80 in ${name}`, state, send: { body: around(before, [0xc0, 0x80], after) }, want: C() }))),
  ...['name', 'key'].flatMap((where) => [
    row(`0xff in the ${where} of an event`, raw(frame(1, where === 'name' ? around('4274["', [0xff], '"]') : around('4274["server.ping",{"', [0xff], '":1}]'))), notUtf8),
    { name: `joined polling: 0xff in the ${where} of an event`, state: 'joined polling', send: { body: where === 'name' ? around('4274["', [0xff], '"]') : around('4274["server.ping",{"', [0xff], '":1}]') }, want: C() }]),
  row('valid UTF-8 cut between fragments', raw(frame(1, around('4274["', [0xf0, 0x9f], ''), { fin: false }), frame(0, around('', [0x98, 0x80], '"]'))), S(/^4374\[\{"ok":false,"error":\{"code":"unknown_event"/)),
  row('a fragment that ends within a character, and then is wrong', raw(frame(1, around('4274["', [0xf0, 0x9f], ''), { fin: false }), frame(0, around('', [0x28], '"]'))), notUtf8),
  row('a message that ends within a character', raw(frame(1, around('4274["', [0xf0, 0x9f], ''), { fin: false }), frame(0, '')), C('transport error', { code: 1007 })),
  row('a ping between the halves of a character', raw(frame(1, around('4274["', [0xc3], ''), { fin: false }), frame(9, Buffer.from([0xff])), frame(0, around('', [0xa9], '"]'))), S(/^4374\[\{"ok":false,"error":\{"code":"unknown_event"/)),
  row('U+10FFFF, U+FFFF, U+FEFF, U+2028', raw(frame(1, '4274["\u{10ffff}\uffff\ufeff\u2028"]')), S(/^4374\[\{"ok":false,"error":\{"code":"unknown_event"/)),
  row('bytes that are no UTF-8 as attachment', raw(frame(1, '451-74["server.ping",{"_placeholder":true,"num":0}]'), frame(2, Buffer.from([0xff, 0xc0, 0x80]))), S(/^4374\[\{"ok":false/)),
];

/* ---- frames in the segment of the handshake ---- */

const behind = [
  ['CONNECT', () => frame(1, '40{}'), S(/^44\{"message":"missing_credentials"/)],
  ['RSV1', () => frame(1, '6', { rsv: 0x40 }), protocol],
  ['opcode 3', () => frame(3, ''), protocol],
  ['an unmasked frame', () => frame(1, '6', { mask: false }), S()],
  ['a close frame', () => closeFrame(1000), byPeer(1000)],
  ['half a frame', () => frame(1, '6xxxxxxxx').subarray(0, 5), undefined],
  ['text abc', () => frame(1, 'abc'), C()],
  ['an empty message', () => frame(1, ''), C()],
  ['65,537 bytes', () => frame(1, '6'.padEnd(65537, 'x')), tooLarge],
  ['a length of 2^64-1', () => frame(1, 'x'.repeat(600), { length: (1n << 64n) - 1n }), cut],
  ['garbage', () => Buffer.alloc(2000, 0xff), protocol],
  ['another request', () => request('GET', '/livez'), protocol],
];
const behindRows = behind.map(([name, data, want]) => ({
  name: `handshake and ${name} in one segment`,
  async play(t) {
    const c = await t.tcp();
    c.write(Buffer.concat([request('GET', WS, handshakeLines), data(t)]));
    const r = await c.answer();
    assert.equal(r?.status, 101);
    const ws = new Ws(c);
    await c.wait(() => ws.packets.length > 0 || c.end, 'the open packet or the end');
    if (ws.packets.length === 0) { // libwebsockets gives up on more than a small frame there: no client may send before it has read 101
      for (const reason of new Set([want?.reason ?? 'transport close', 'transport close'])) t.maybe(reason);
      return undefined;
    }
    const s = await t.opened(ws);
    if (!want) {
      c.destroy();
      s.gone('transport close');
      return undefined;
    }
    return judge(s, want);
  },
}));

/* ---- the end in the middle, and ends that are not answered ---- */

const own = [
  ...[0, 1, 5, 20].map((ms) => ({
    name: `reset ${ms} ms behind the request of a handshake`,
    async play(t) {
      const c = await t.tcp();
      c.write(request('GET', WS, handshakeLines));
      if (ms) await sleep(ms);
      c.reset();
      t.maybe('transport close');
    },
  })),
  ...['fin', 'reset'].map((way) => ({
    name: `joined ws: ${way === 'fin' ? 'FIN' : 'RST'} within a frame`,
    async play(t) {
      const s = await states[J](t);
      s.ws.tcp.write(frame(1, '42["message.send"', { length: 5000 }));
      await sleep(50);
      s.ws.tcp[way]();
      s.gone('transport close');
      await s.ws.tcp.ended();
    },
  })),
  {
    name: 'joined ws: our close frame is not answered',
    async play(t) {
      const s = await states[J](t);
      s.ws.answersClose = false;
      s.ws.send('abc');
      assert.equal(await s.ws.closed(), 1005);
      const begun = Date.now();
      s.ws.send('42["server.ping",{}]', 'abc', '1');
      await s.ws.tcp.ended(20000);
      assert.ok(Date.now() - begun > 3000, 'it gets its time');
      s.gone('parse error');
      await s.unknown();
    },
  },
  {
    name: 'joined ws: what comes behind our close frame is swallowed',
    async play(t) {
      const s = await states[J](t);
      s.ws.answersClose = false;
      s.ws.send('abc');
      assert.equal(await s.ws.closed(), 1005);
      await s.ws.tcp.pour(Buffer.concat([frame(1, 'x'.repeat(100000)), frame(2, Buffer.alloc(1000)), frame(9, 'p'), closeFrame(1005)]));
      await s.ws.tcp.ended(20000);
      s.gone('parse error');
    },
  },
  {
    name: 'joined ws: every frame byte by byte',
    async play(t) {
      const s = await states[J](t);
      for (const byte of Buffer.concat([frame(1, PING(75)), frame(9, 'p'), frame(2, ''), frame(1, '6'.padEnd(300), { wide: 8 })].filter((_, i) => i !== 2))) {
        s.ws.tcp.write(Buffer.from([byte]));
        await sleep(0);
      }
      await judge(s, S(pong(75)));
      assert.deepEqual(s.ws.pongs, [Buffer.from('p')]);
    },
  },
  {
    name: 'joined ws: a thousand pings and their pongs, in order',
    async play(t) {
      const s = await states[J](t);
      await s.ws.tcp.pour(Buffer.concat(Array.from({ length: 1000 }, (_, i) => frame(9, String(i)))));
      await judge(s, S());
      // Not each of several pings has to be answered (RFC 6455, 5.5.2): those pongs that come are in order, and a later ping has its own.
      const got = s.ws.pongs.map(Number);
      assert.ok(got.length > 0);
      assert.deepEqual(got, [...got].sort((a, b) => a - b));
      s.ws.tcp.write(frame(9, 'later'));
      await s.ws.tcp.wait(() => s.ws.pongs.some((p) => p.toString() === 'later'), 'the pong of a later ping');
    },
  },
];

export const rows = [...headers, ...sizes, ...closeRows, ...utf8Rows, ...behindRows, ...own];
