// http.mjs: rows about requests: the check of 2.1, framing, headers, CORS, methods, paths.
import assert from 'node:assert/strict';
import { BAD_REQUEST, EIO, R, S, UNKNOWN_SID, WS, Ws, bytes, closeFrame, frame, handshakeLines, judge, judgeAnswer, request, sleep, states } from './driver.mjs';

const TRANSPORT = ['{"code":0,"message":"Transport unknown"}', 'Transport unknown'];
const SID = [UNKNOWN_SID, 'Session ID unknown'];
const METHOD = ['{"code":2,"message":"Bad handshake method"}', 'Bad handshake method'];
const BAD = [BAD_REQUEST, 'Bad request'];
const VERSION = ['{"code":5,"message":"Unsupported protocol version"}', 'Unsupported protocol version'];
const FORBIDDEN = ['{"code":4,"message":"Forbidden"}', 'Forbidden'];
const SERVED = 'served';
const HUNG_UP = 'hung up';
const LWS_403 = 'libwebsockets says 403';
const LONG = 'too long';

/* Queries: name, query, what a plain request gets, what an upgrade gets. */
const queries = [
  ['no query', '', TRANSPORT, TRANSPORT],
  ['an empty query', '?', TRANSPORT, TRANSPORT],
  ['no transport', '?EIO=4', TRANSPORT, TRANSPORT],
  ['an empty transport', '?EIO=4&transport=', TRANSPORT, TRANSPORT],
  ['a transport without =', '?EIO=4&transport', TRANSPORT, TRANSPORT],
  ['transport __proto__', '?EIO=4&transport=__proto__', TRANSPORT, TRANSPORT],
  ['transport constructor', '?EIO=4&transport=constructor', TRANSPORT, TRANSPORT],
  ['transport toString', '?EIO=4&transport=toString', TRANSPORT, TRANSPORT],
  ['transport webtransport', '?EIO=4&transport=webtransport', TRANSPORT, TRANSPORT],
  ['a transport in capitals', '?EIO=4&transport=POLLING', TRANSPORT, TRANSPORT],
  ['a transport that begins like one', '?EIO=4&transport=websocketsXX', TRANSPORT, TRANSPORT],
  ['a transport that ends early', '?EIO=4&transport=pollin', TRANSPORT, TRANSPORT],
  ['a blank behind the transport', '?EIO=4&transport=polling%20', TRANSPORT, TRANSPORT],
  ['the key in capitals', '?EIO=4&Transport=polling', TRANSPORT, TRANSPORT],
  ['an array of transports', '?EIO=4&transport[]=polling', TRANSPORT, TRANSPORT],
  ['a transport of 3000 bytes', `?EIO=4&transport=${'p'.repeat(3000)}`, TRANSPORT, TRANSPORT],
  ['two transports, the last unknown', '?EIO=4&transport=polling&transport=x', TRANSPORT, TRANSPORT],
  ['two transports, the last is polling', '?EIO=4&transport=websocket&transport=polling', SERVED, BAD],
  ['two transports, the last is websocket', '?EIO=4&transport=polling&transport=websocket', BAD, SERVED],
  ['a percent-encoded transport', '?EIO=4&transport=%70olling&transport=%77ebsocket', BAD, SERVED],
  ['NUL in the transport', '?EIO=4&transport=polling%00', HUNG_UP, HUNG_UP],
  ['a bad escape in the transport', '?EIO=4&transport=%zz', LWS_403, LWS_403],
  ['no version', '?transport=', TRANSPORT, TRANSPORT],
  ['a session of nobody', '?EIO=4&transport=TRANSPORT&sid=AAAAAAAAAAAAAAAAAAAA', SID, SID],
  ['an empty sid', '?EIO=4&transport=TRANSPORT&sid=', SID, SID],
  ['a sid of one character', '?EIO=4&transport=TRANSPORT&sid=A', SID, SID],
  ['a sid of 19 characters', '?EIO=4&transport=TRANSPORT&sid=AAAAAAAAAAAAAAAAAAA', SID, SID],
  ['a sid of 21 characters', '?EIO=4&transport=TRANSPORT&sid=AAAAAAAAAAAAAAAAAAAAA', SID, SID],
  ['a sid of 3000 characters', `?EIO=4&transport=TRANSPORT&sid=${'A'.repeat(3000)}`, SID, SID],
  ['a sid of 10,000 characters', `?EIO=4&transport=TRANSPORT&sid=${'A'.repeat(10000)}`, LONG, LONG],
  ['sid __proto__', '?EIO=4&transport=TRANSPORT&sid=__proto__', SID, SID],
  ['sid ../..', '?EIO=4&transport=TRANSPORT&sid=..%2f..%2f..', SID, SID],
  ['NUL as sid', '?EIO=4&transport=TRANSPORT&sid=%00', HUNG_UP, HUNG_UP],
  ['a sid in UTF-8', '?EIO=4&transport=TRANSPORT&sid=%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9%c3%a9', SID, SID],
  ['a sid of raw bytes', '?EIO=4&transport=TRANSPORT&sid=\xff\xfe\x80\x81AAAAAAAAAAAAAAAA', SID, SID],
  ['two sids of nobody', '?EIO=4&transport=TRANSPORT&sid=x&sid=y', SID, SID],
  ['version missing', '?transport=TRANSPORT', VERSION, VERSION],
  ['version 3', '?EIO=3&transport=TRANSPORT', VERSION, VERSION],
  ['version 5', '?EIO=5&transport=TRANSPORT', VERSION, VERSION],
  ['version abc', '?EIO=abc&transport=TRANSPORT', VERSION, VERSION],
  ['an empty version', '?EIO=&transport=TRANSPORT', VERSION, VERSION],
  ['version 04', '?EIO=04&transport=TRANSPORT', VERSION, VERSION],
  ['version 4 and more', '?EIO=4444&transport=TRANSPORT', VERSION, VERSION],
  ['version " 4"', '?EIO=%204&transport=TRANSPORT', VERSION, VERSION],
  ['the version key in small letters', '?eio=4&transport=TRANSPORT', VERSION, VERSION],
  ['versions 4 and 3', '?EIO=4&EIO=3&transport=TRANSPORT', VERSION, VERSION],
  ['versions 3 and 4', '?EIO=3&EIO=4&transport=TRANSPORT', SERVED, SERVED],
  ['keys of the application', '?token=abc&EIO=4&transport=TRANSPORT&t=Pxyz&x&=&&y=%3D%26&__proto__=1', SERVED, SERVED],
  ['the key SID is the application\'s', '?EIO=4&transport=TRANSPORT&SID=AAAAAAAAAAAAAAAAAAAA', SERVED, SERVED],
  ['50 keys', `?EIO=4&transport=TRANSPORT&${Array.from({ length: 50 }, (_, i) => `k${i}=v`).join('&')}`, SERVED, SERVED],
  ['500 keys', `?EIO=4&transport=TRANSPORT&${Array.from({ length: 500 }, (_, i) => `k${i}=v`).join('&')}`, HUNG_UP, HUNG_UP],
];

const url = (query, transport) => `/socket.io/${query.replaceAll('TRANSPORT', transport)}`;

/** What an upgrade that was refused before 101 gets: a raw 400 and the end. */
const refusedUpgrade = (text, status = 400) => R(status, text, 'close', { connection: 'close', 'content-type': 'text/html' });
const refusedPlain = (body, status = 400) => R(status, body, 'keep', { 'content-type': 'application/json' });

function special(want) {
  if (want === HUNG_UP) return R('none');
  if (want === LWS_403) return R(403, undefined, 'close');
  if (want === LONG) return R(414, '', 'close');
  return undefined;
}

async function queryRow(t, target, upgrade, kept, want) {
  const c = await t.tcp();
  if (kept) {
    c.write(request('GET', '/livez'));
    assert.equal((await c.answer())?.status, 200);
  }
  if (want === SERVED && upgrade) {
    const s = await t.ws(target, { on: c });
    return judge(s, S());
  }
  c.write(request('GET', target, upgrade ? handshakeLines : []));
  if (want === SERVED) {
    const r = await judgeAnswer(c, R(200, undefined, 'keep', { 'content-type': 'text/plain; charset=UTF-8', 'cache-control': 'no-store' }));
    return judge(t.adopt(r.body), S());
  }
  return judgeAnswer(c, special(want) ?? (upgrade ? refusedUpgrade(want[1]) : refusedPlain(want[0])));
}

const queryRows = queries.flatMap(([name, query, plain, upgrade]) => [false, true].flatMap((up) => [false, true].map((kept) => ({
  name: `${up ? 'upgrade' : 'GET'}, ${kept ? 'kept-alive' : 'fresh'}: ${name}`,
  play: (t) => queryRow(t, url(query, up ? 'websocket' : 'polling'), up, kept, up ? upgrade : plain),
}))));

/* One request on a fresh connection: name, bytes, what it gets. `{SID}` stands for a polling session, which survives. */
const METHODS = ['POST', 'PUT', 'DELETE', 'PATCH'];
const single = [
  ...METHODS.map((m) => [`${m} without a sid`, request(m, EIO, [], 'abc'), m === 'POST' ? R(400, METHOD[0]) : R(400, METHOD[0], 'close')]),
  ...METHODS.slice(1).map((m) => [`${m} to a session`, request(m, `${EIO}&sid={SID}`, [], ''), R(400, BAD[0], 'close')]),
  ['DELETE to a session, without a length', request('DELETE', `${EIO}&sid={SID}`), R(400, BAD[0], 'close')],
  ['HEAD', request('HEAD', EIO), R(400, '', 'close')],
  ['HEAD of a session', request('HEAD', `${EIO}&sid={SID}`), R(400, '', 'close')],
  ['websocket as transport of a plain request', request('GET', WS), R(400, BAD[0])],
  ['websocket as transport of a polling session', request('GET', `${WS}&sid={SID}`), R(400, BAD[0])],
  ['POST with transport websocket', request('POST', `${WS}&sid={SID}`, [], '40'), R(400, BAD[0])],
  ['a sid in other capitals', request('GET', `${EIO}&sid={SWAPPED}`), R(400, SID[0])],
  ['a sid whose last character differs', request('GET', `${EIO}&sid={NEXT}`), R(400, SID[0])],
  ['the right sid, then another', request('GET', `${EIO}&sid={SID}&sid=AAAAAAAAAAAAAAAAAAAA`), R(400, SID[0])],
  ['a blank behind the sid', request('GET', `${EIO}&sid={SID}%20`), R(400, SID[0])],
  ['a GET with a body', request('GET', EIO, [], 'abc'), R(400, BAD[0], 'close')],
  ['a GET to a session with a body', request('GET', `${EIO}&sid={SID}`, [], '40'), R(400, BAD[0], 'close')],
  // paths
  ['the path without its slash', request('GET', '/socket.io?EIO=4&transport=polling'), R(200)],
  ['two slashes behind the path', request('GET', '/socket.io//?EIO=4&transport=polling'), R(200)],
  ['a path below', request('GET', '/socket.io/x?EIO=4&transport=polling'), R(404)],
  ['the path in capitals', request('GET', '/SOCKET.IO/?EIO=4&transport=polling'), R(404)],
  ['the raw Engine.IO path', request('GET', '/engine.io/?EIO=4&transport=polling'), R(404)],
  ['a path that goes up', request('GET', '/socket.io/../../etc/passwd'), R(404)],
  ['/', request('GET', '/'), R(404)],
  ['POST elsewhere', request('POST', '/elsewhere', [], 'abc'), R(404, undefined, 'close')],
  ['OPTIONS elsewhere', request('OPTIONS', '/elsewhere'), R(404, undefined, 'close')],
  ['POST to /livez', request('POST', '/livez', [], 'abc'), R(404, undefined, 'close')],
  // framing
  ['POST without a length', request('POST', `${EIO}&sid={SID}`), R(411, '', 'close')],
  ['a chunked POST', bytes(`${request('POST', `${EIO}&sid={SID}`, ['Transfer-Encoding: chunked'])}2\r\n40\r\n0\r\n\r\n`), R(411, '', 'close')],
  ['a chunked POST that never ends', bytes(`${request('POST', `${EIO}&sid={SID}`, ['Transfer-Encoding: chunked'])}${'10000\r\n'}${'x'.repeat(60000)}`), R(411, '', 'close')],
  ['a chunked GET', bytes(`${request('GET', EIO, ['Transfer-Encoding: chunked'])}0\r\n\r\n`), R(411, '', 'close')],
  ['a chunked POST elsewhere', bytes(`${request('POST', '/elsewhere', ['Transfer-Encoding: chunked'])}2\r\n40\r\n0\r\n\r\n${request('GET', '/livez')}`), R(411, '', 'close')],
  ['gzip as transfer encoding', bytes(`${request('POST', `${EIO}&sid={SID}`, ['Transfer-Encoding: gzip, chunked'])}0\r\n\r\n`), R(411, '', 'close')],
  ...[['a length and chunked', ['Content-Length: 4', 'Transfer-Encoding: chunked']], ['chunked and a length', ['Transfer-Encoding: chunked', 'Content-Length: 4']],
    ['a length and an unknown encoding', ['Content-Length: 5', 'Transfer-Encoding: xchunked']], ['a length and identity', ['Content-Length: 5', 'Transfer-Encoding: identity']]].flatMap(([name, lines]) =>
    [`${EIO}&sid={SID}`, EIO, '/elsewhere', '/livez'].map((target) => [`${name}: ${target.replace(EIO, 'socket.io')}`, bytes(`${request('POST', target, lines)}0\r\n\r\n${request('GET', '/livez')}`), R(400, BAD[0], 'close')])),
  ...[['negative', '-1'], ['hexadecimal', '0x1'], ['signed', '+1'], ['a list', '1, 1'], ['beyond 64 bits', '99999999999999999999999'], ['wrapping', '18446744073709551617'], ['with a letter', '1x'], ['a fraction', '1.0'],
    ['of 16 digits', '1000000000000000'], ['inner blank', '1 1']].map(([name, value]) => [`Content-Length ${name}`, bytes(`${request('POST', `${EIO}&sid={SID}`, [`Content-Length: ${value}`])}3${request('GET', '/livez')}`), R(400, BAD[0], 'close')]),
  ['Content-Length empty', bytes(`${request('POST', `${EIO}&sid={SID}`, ['Content-Length:'])}3`), R(411, '', 'close')],
  ...[['two different', 1, 2], ['two equal', 1, 1], ['zero, then five', 0, 5]].map(([name, a, b]) => [`Content-Length ${name}`, bytes(`${request('POST', `${EIO}&sid={SID}`, [`Content-Length: ${a}`, `Content-Length: ${b}`])}3${request('GET', '/livez')}`), R(400, BAD[0], 'close')]),
  // CORS
  ['an origin of the list', request('GET', EIO, ['Origin: https://good.example']), R(200, undefined, 'keep', { 'access-control-allow-origin': 'https://good.example', 'access-control-allow-credentials': 'true', vary: 'Origin' })],
  ['an origin of the list on an error', request('GET', `${EIO}&sid=x`, ['Origin: https://good.example']), R(400, SID[0], 'keep', { 'access-control-allow-origin': 'https://good.example' })],
  ['an origin of the list on 411', request('POST', `${EIO}&sid={SID}`, ['Origin: https://good.example']), R(411, '', 'close', { 'access-control-allow-origin': 'https://good.example' })],
  ['an origin of the list on 404', request('GET', '/', ['Origin: https://good.example']), R(404, undefined, 'keep', { 'access-control-allow-origin': 'https://good.example' })],
  ['an origin in capitals', request('GET', EIO, ['Origin: HTTPS://Good.Example']), R(200, undefined, 'keep', { 'access-control-allow-origin': 'HTTPS://Good.Example' })],
  ...[['foreign', 'https://evil.example'], ['null', 'null'], ['with a suffix', 'https://good.example.evil.example'], ['with another scheme', 'http://good.example'], ['with a port', 'https://good.example:444'], ['of a subdomain', 'https://a.good.example'],
    ['as a list', 'https://good.example, https://also.example'], ['of 300 bytes', `https://${'x'.repeat(300)}`], ['of 300 bytes that begin well', `https://good.example${'x'.repeat(300)}`]].flatMap(([name, origin]) => [
    [`an origin ${name}`, request('GET', EIO, [`Origin: ${origin}`]), R(403, FORBIDDEN[0], 'keep', { 'access-control-allow-origin': undefined })],
    [`an origin ${name}, upgrade`, request('GET', WS, [...handshakeLines, `Origin: ${origin}`]), refusedUpgrade(FORBIDDEN[1], 403)],
    [`an origin ${name}, upgrade of a session`, request('GET', `${WS}&sid={SID}`, [...handshakeLines, `Origin: ${origin}`]), refusedUpgrade(FORBIDDEN[1], 403)],
  ]),
  ['a control character in the origin', request('GET', EIO, ['Origin: https://good.example\x01']), R(400, BAD[0])],
  ['a control character in the origin, upgrade', request('GET', WS, [...handshakeLines, 'Origin: https://good.example\x7f']), refusedUpgrade(BAD[1])],
  ['a preflight', request('OPTIONS', `${EIO}&sid={SID}`, ['Origin: https://good.example', 'Access-Control-Request-Method: POST', 'Access-Control-Request-Headers: x-a, content-type']),
    R(204, '', 'keep', { 'access-control-allow-methods': 'GET,POST', 'access-control-allow-headers': 'x-a, content-type', 'access-control-max-age': '600', 'content-length': '0' })],
  ['a preflight with unprintable headers', request('OPTIONS', EIO, ['Origin: https://good.example', 'Access-Control-Request-Headers: x-\xff\x01']), R(204, '', 'keep', { 'access-control-allow-headers': undefined })],
  ['a preflight with 300 bytes of headers', request('OPTIONS', EIO, ['Origin: https://good.example', `Access-Control-Request-Headers: ${'x'.repeat(300)}`]), R(204, '', 'keep', { 'access-control-allow-headers': undefined })],
  ['a preflight from elsewhere', request('OPTIONS', EIO, ['Origin: https://evil.example']), R(204, '', 'keep', { 'access-control-allow-origin': undefined })],
  ['a preflight with a body', request('OPTIONS', EIO, ['Origin: https://good.example'], 'abc'), R(204, '', 'close')],
  // the request line and the headers
  ['an unknown method', request('FOO', EIO), R(403, undefined, 'close')],
  ['TRACE', request('TRACE', EIO), R(403, undefined, 'close')],
  ['CONNECT', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', R('none'), { slow: true }],
  ['an absolute target', request('GET', `http://127.0.0.1${EIO}`), R(403, undefined, 'close')],
  ['a bad escape in the path', request('GET', '/%zz'), R(403, undefined, 'close')],
  ['NUL at the end of the path, which libwebsockets drops', request('GET', '/socket.io/%00?EIO=4&transport=polling'), R(200)],
  ['NUL within the path', request('GET', '/socket.io/%00x?EIO=4&transport=polling'), R(404)],
  ['nothing but NUL', '\x00'.repeat(100), R(403, undefined, 'close')],
  ['a TLS hello', Buffer.from('160301020001000001fc0303', 'hex'), R(403, undefined, 'close')],
  ['a request line alone', 'GET\r\n\r\n', R(403, undefined, 'close')],
  ['no target', 'GET  HTTP/1.1\r\n\r\n', R(403, undefined, 'close')],
  ['HTTP/2 with prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00', R(403, undefined, 'close')],
  ['2,000 headers', request('GET', EIO, Array.from({ length: 2000 }, (_, i) => `X-${i}: y`)), R('none')],
  ['2,000 headers, upgrade', request('GET', WS, [...handshakeLines, ...Array.from({ length: 2000 }, (_, i) => `X-${i}: y`)]), R('none')],
  ['a header of 100,000 bytes', request('GET', EIO, [`X: ${'y'.repeat(100000)}`]), R('none')],
  ['a header that never ends', bytes(`GET ${EIO} HTTP/1.1\r\nX: ${'y'.repeat(200000)}`), R('none')],
  ['a target of 100,000 bytes', request('GET', `${EIO}&x=${'u'.repeat(100000)}`), R('none')],
  ['a target of 4,096 bytes', request('GET', `${EIO}&x=`.padEnd(4096, 'u')), R(200)],
  ['a target of 4,097 bytes', request('GET', `${EIO}&x=`.padEnd(4097, 'u')), R(414, '', 'close')],
  ['a target of 4,097 bytes to a session, POST', request('POST', `${EIO}&sid={SID}&x=`.padEnd(4097 - 15, 'u'), [], '40'), R(414, '', 'close')],
  ['a target of 4,097 bytes, upgrade', request('GET', `${WS}&x=`.padEnd(4097, 'u'), handshakeLines), R(414, '', 'close')],
  ['HTTP/1.0', `GET ${EIO} HTTP/1.0\r\n\r\n`, R(200, undefined, 'close')],
  ['lines that end with LF alone', `GET ${EIO} HTTP/1.1\nHost: x\n\n`, R(200)],
  ['HTTP/9.9', 'GET / HTTP/9.9\r\nHost: x\r\n\r\n', R(404, undefined, 'close')],
  ['200 empty lines', `${'\r\n'.repeat(200)}x`, R('none')],
  ['20,000 small headers that never end', `GET / HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(20000)}`, R('none')],
  ['3,000 bytes of all values', Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 167 + 13) & 255)), R(403, undefined, 'close')],
  ['bare CRs in a header', `GET ${EIO} HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n`, R('none')],
];

async function singleRow(t, data, want) {
  const text = bytes(data).toString('latin1');
  const s = /\{(SID|SWAPPED|NEXT)\}/.test(text) ? await t.polling() : undefined;
  const sid = s?.sid ?? '';
  const swapped = sid.replace(/[a-zA-Z]/g, (x) => (x < 'a' ? x.toLowerCase() : x.toUpperCase()));
  const next = sid.slice(0, -1) + (sid.endsWith('A') ? 'B' : 'A');
  const c = await t.tcp();
  await c.pour(Buffer.from(text.replaceAll('{SID}', sid).replaceAll('{SWAPPED}', swapped).replaceAll('{NEXT}', next), 'latin1'));
  const r = await judgeAnswer(c, want);
  if (r?.status === 200 && r.body.startsWith('0{')) await judge(t.adopt(r.body), S());
  if (s) await judge(s, S());
}

const singleRows = single.map(([name, data, want, more]) => ({ name: `HTTP: ${name}`, ...more, play: (t) => singleRow(t, data, want) }));

/* ---- pipelining, slowness, half-closed connections ---- */

/** All that comes on a connection until it is quiet or ended: the statuses. */
async function statuses(c, count, ms) {
  const got = [];
  while (got.length < count) {
    const r = await c.answer(ms);
    if (!r) break;
    got.push(r.status);
  }
  return got;
}

/* A pipelined request with a body is what libwebsockets trips over: refusal or hang-up of that connection are both fine, the process goes on. */
const pipelined = ['abc', '40', 'GET / HTTP/1.1\r\n\r\n', '\r\n\r\n', '\x1e', 'post '].flatMap((body) => ['/livez', EIO, '/elsewhere'].map((target) => ({
  name: `pipelining: GET and POST of ${JSON.stringify(body)} in one segment: ${target.split('?')[0]}`,
  async play(t) {
    const c = await t.tcp();
    c.write(Buffer.concat([request('GET', target), request('POST', target, ['Content-Type: text/plain'], body)]));
    const first = await c.answer();
    if (target === EIO) t.adopt(first.body);
    assert.equal(first?.status, target === '/elsewhere' ? 404 : 200);
    const rest = await statuses(c, 1);
    assert.ok(rest.length === 0 || rest[0] >= 400, `no success for what was not read as a request: ${rest}`);
    await c.ended();
  },
})));

/* The same with other methods, behind a GET or behind a body. */
const pipelinedMethods = METHODS.flatMap((method) => ['a GET', 'a body'].map((first) => ({
  name: `pipelining: ${method} to a session behind ${first} in one segment`,
  async play(t) {
    const s = await t.polling();
    const c = await t.sent(Buffer.concat([first === 'a GET' ? request('GET', '/livez') : request(method, '/elsewhere', [], 'abc'), request(method, s.url(), [], '6bc')]));
    assert.equal((await c.answer())?.status, first === 'a GET' ? 200 : 404);
    const rest = await statuses(c, 1);
    assert.ok(rest.length === 0 || rest[0] >= 400, String(rest));
    await c.ended();
    await judge(s, S());
  },
})));

const special1 = [
  {
    name: 'pipelining: five GETs in one segment',
    async play(t) {
      const c = await t.tcp();
      c.write(Buffer.concat(Array.from({ length: 5 }, () => request('GET', '/livez'))));
      assert.deepEqual(await statuses(c, 5), [200, 200, 200, 200, 200]);
    },
  },
  {
    name: 'pipelining: POST and GET to a session in one segment',
    async play(t) {
      const s = await states['joined polling'](t);
      const c = await t.tcp();
      c.write(Buffer.concat([request('POST', s.url(), [], '42905["server.ping",{"t":905}]'), request('GET', '/livez')]));
      assert.equal((await c.answer())?.status, 200);
      const got = await statuses(c, 1, 20000);
      assert.ok(got.length === 0 || got[0] === 200, String(got));
      await judge(s, S(/^43905\[\{"ok":true/));
    },
  },
  {
    name: 'pipelining: an upgrade behind a GET',
    async play(t) {
      const c = await t.tcp();
      c.write(request('GET', '/livez'));
      assert.equal((await c.answer())?.status, 200);
      await judge(await t.ws(WS, { on: c }), S());
    },
  },
  {
    name: 'pipelining: an upgrade behind a GET in one segment',
    async play(t) {
      const c = await t.tcp();
      c.write(Buffer.concat([request('GET', '/livez'), request('GET', WS, handshakeLines)]));
      assert.equal((await c.answer())?.status, 200);
      const r = await c.answer();
      if (r?.status === 101) {
        await judge(await t.opened(new Ws(c)), S());
      } else assert.equal(r, undefined);
    },
  },
  {
    name: 'keep-alive: ten refusals, then a session by the same connection',
    async play(t) {
      const c = await t.tcp();
      for (const target of [`${EIO}&sid=x`, '/socket.io/', `${EIO.replace('4', '3')}`, '/x', `${EIO}&sid=`, WS, '/socket.io/?EIO=4', '/', '/socket.io/x', `${EIO}&sid=__proto__`]) {
        c.write(request('GET', target));
        assert.ok((await c.answer()).status >= 400);
      }
      c.write(request('GET', EIO));
      await judge(t.adopt((await c.answer()).body), S());
    },
  },
  ...['GET /socket.io/?EIO=4', 'GET /livez HTTP/1.1\r\nHost: x\r\n'].map((data) => ({
    name: `slow: the headers never end: ${JSON.stringify(data)}`, slow: true,
    async play(t) {
      const c = await t.tcp();
      const begun = Date.now();
      c.write(data);
      await c.ended(25000);
      assert.ok(Date.now() - begun > 2000, 'not at once');
      assert.equal(c.in.length, 0);
    },
  })),
  {
    name: 'slow: a byte of headers every 300 ms', slow: true,
    async play(t) {
      const c = await t.tcp();
      const data = request('GET', EIO, ['X: '.padEnd(200, 'y')]).toString('latin1');
      for (let i = 0; i < data.length && !c.end; i++) {
        c.write(data[i]);
        await sleep(300);
      }
      assert.ok(c.end, 'cut before it was complete');
    },
  },
  {
    name: 'slow: silence', slow: true,
    async play(t) {
      await (await t.tcp()).ended(25000);
    },
  },
  {
    name: 'slow: headers in pieces within the time', slow: true,
    async play(t) {
      const c = await t.tcp();
      const data = request('GET', EIO).toString('latin1');
      for (let i = 0; i < data.length; i += 12) {
        c.write(data.slice(i, i + 12));
        await sleep(50);
      }
      await judge(t.adopt((await c.answer()).body), S());
    },
  },
  {
    name: 'slow: an upgrade in single bytes', slow: true,
    async play(t) {
      const c = await t.tcp();
      const data = request('GET', WS, handshakeLines).toString('latin1');
      for (const byte of data) {
        c.write(byte);
        await sleep(2);
      }
      assert.equal((await c.answer())?.status, 101);
      const s = await t.opened(new Ws(c));
      for (const byte of frame(1, s.connect)) c.write(Buffer.from([byte]));
      await s.until(/session\.ready/);
      s.joined = true;
      await judge(s, S());
    },
  },
  ...['GET / HTTP/1.1\r\nHo', ''].map((data) => ({
    name: `half-closed ${data ? 'within the headers' : 'at once'}`,
    async play(t) {
      const c = await t.tcp();
      c.write(data);
      c.fin();
      await c.ended();
      assert.equal(c.in.length, 0);
    },
  })),
  {
    name: 'half-closed behind a complete request',
    async play(t) {
      const c = await t.tcp();
      c.write(request('GET', EIO));
      c.fin();
      const r = await c.answer();
      if (r) await judge(t.adopt(r.body), S());
      else assert.fail('a request whose sender reads on is answered');
    },
  },
  ...[1, 7, 20].map((n) => ({
    name: `reset ${n} bytes into a request`,
    async play(t) {
      const c = await t.tcp();
      c.write(request('GET', EIO).subarray(0, n));
      await sleep(20);
      c.reset();
    },
  })),
];

/* ---- the headers of a handshake ---- */

const without = (name) => handshakeLines.filter((l) => !l.startsWith(name));
const unsupported = R(426, '', 'close', { 'sec-websocket-version': '13' });
const upgrades = [
  ['Upgrade: WebSocket in capitals', [...without('Upgrade'), 'Upgrade: WebSocket'], SERVED],
  ['Connection: keep-alive, Upgrade', [...without('Connection'), 'Connection: keep-alive, Upgrade'], SERVED],
  ['permessage-deflate is offered', [...handshakeLines, 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'], SERVED],
  ['an unknown extension is offered', [...handshakeLines, 'Sec-WebSocket-Extensions: x-foo'], SERVED],
  ['an own sub-protocol', [...handshakeLines, 'Sec-WebSocket-Protocol: parley'], R(400, 'Sec-WebSocket-Protocol is not supported', 'close')],
  ['two sub-protocols', [...handshakeLines, 'Sec-WebSocket-Protocol: a, b'], R(400, 'Sec-WebSocket-Protocol is not supported', 'close')],
  ['no Connection', without('Connection'), R('none')],
  ['Connection: close', [...without('Connection'), 'Connection: close'], R('none')],
  ['no key', without('Sec-WebSocket-Key'), R('none')],
  ['an empty key', [...without('Sec-WebSocket-Key'), 'Sec-WebSocket-Key:'], R('none')],
  ['a key of 300 bytes', [...without('Sec-WebSocket-Key'), `Sec-WebSocket-Key: ${'A'.repeat(300)}`], R('none')],
  ['no version', without('Sec-WebSocket-Version'), unsupported],
  ['version 8', [...without('Sec-WebSocket-Version'), 'Sec-WebSocket-Version: 8'], unsupported],
  ['version 99', [...without('Sec-WebSocket-Version'), 'Sec-WebSocket-Version: 99'], unsupported],
];
/* The Upgrade header with a value that libwebsockets does not know: on a kept-alive connection it comes with a pointer that has been freed. */
const strange = ['foo', 'h2c', 'WebSocketX', 'websocke', 'websocket, foo', 'foo, websocket', 'TLS/1.0', 'x'.repeat(300)];

async function upgradeRow(t, lines, kept, want) {
  const c = await t.tcp();
  if (kept) {
    c.write(request('GET', kept));
    const r = await c.answer();
    if (kept === EIO) t.adopt(r.body);
  }
  if (want === SERVED) return judge(await t.ws(WS, { on: c, lines }), S());
  c.write(request('GET', WS, lines));
  return judgeAnswer(c, want);
}

const headerRows = [
  ...upgrades.flatMap(([name, lines, want]) => ['', '/livez'].map((kept) => ({ name: `handshake, ${kept ? 'kept-alive' : 'fresh'}: ${name}`, play: (t) => upgradeRow(t, lines, kept, want) }))),
  ...strange.flatMap((value) => ['', '/livez', EIO, '/elsewhere'].map((kept) => ({
    name: `Upgrade: ${value.slice(0, 20)} ${kept ? `behind GET ${kept.split('?')[0]}` : 'as first request'}`,
    async play(t) {
      const c = await t.tcp();
      if (kept) {
        c.write(request('GET', kept));
        const r = await c.answer();
        if (kept === EIO) t.adopt(r.body);
      }
      c.write(request('GET', WS, [...without('Upgrade'), `Upgrade: ${value}`, 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA']));
      const r = await c.answer();
      assert.ok(r === undefined || r.status === 403, JSON.stringify(r));
      await c.ended();
    },
  }))),
  {
    name: 'handshake: by POST',
    play: async (t) => judgeAnswer(await t.sent(request('POST', WS, handshakeLines, '')), R('none')),
  },
  {
    name: 'handshake: with a body, which may look like a frame',
    play: async (t) => judgeAnswer(await t.sent(request('GET', WS, handshakeLines, closeFrame(1000))), refusedUpgrade(BAD[1])),
  },
  {
    name: 'handshake: with a chunked body',
    play: async (t) => judgeAnswer(await t.sent(request('GET', WS, [...handshakeLines, 'Transfer-Encoding: chunked'])), refusedUpgrade(BAD[1])),
  },
  {
    name: 'handshake: with an empty body',
    play: async (t) => judge(await t.ws(WS, { lines: [...handshakeLines, 'Content-Length: 0'] }), S()),
  },
  {
    name: 'handshake: HTTP/1.0',
    async play(t) {
      const c = await t.tcp();
      c.write(request('GET', WS, handshakeLines).toString('latin1').replace('HTTP/1.1', 'HTTP/1.0'));
      const r = await c.answer();
      if (r?.status === 101) {
        await judge(await t.opened(new Ws(c)), S());
      } else assert.equal(r, undefined);
    },
  },
  ...[WS, EIO].map((target) => ({
    name: `handshake: elsewhere: ${target === WS ? '/x' : 'polling as transport'}`,
    play: async (t) => {
      const c = await t.tcp();
      c.write(request('GET', target === WS ? '/x' : EIO, handshakeLines));
      return judgeAnswer(c, target === WS ? R(404, 'Not found', 'close') : refusedUpgrade(BAD[1]));
    },
  })),
];

export const rows = [...queryRows, ...singleRows, ...pipelined, ...pipelinedMethods, ...special1, ...headerRows];
