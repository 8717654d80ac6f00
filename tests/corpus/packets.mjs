// packets.mjs: rows about Engine.IO and Socket.IO packets, on both transports, before and after CONNECT.
import assert from 'node:assert/strict';
import { C, S, judge, sleep, states } from './driver.mjs';

const EACH = ['polling', 'joined polling', 'ws', 'joined ws'];
const J = 'joined ws';
const packet = (text, state, send, want, more = {}) => ({ name: `${state}: ${text}`, state, send: Array.isArray(send) || typeof send === 'function' ? send : [send], want, ...more });
const printable = (p) => (Buffer.isBuffer(p) ? `bytes ${p.toString('hex').slice(0, 40)}` : JSON.stringify(p.length > 60 ? `${p.slice(0, 50)}… (${p.length})` : p));
const on = (list, state) => list.map(([send, want, text]) => packet(text ?? [send].flat().map(printable).join(' '), state, send, want));
const blob = (n, fill = 1) => Buffer.alloc(n, fill);
const closed = C();
const unknown = (id) => new RegExp(`^43${id}\\[\\{"ok":false,"error":\\{"code":"unknown_event"`);
const invalid = (id) => new RegExp(`^43${id}\\[\\{"ok":false,"error":\\{"code":"validation_failed"`);
const pong = (id) => new RegExp(`^43${id}\\[\\{"ok":true,"server_time":"[^"]+"`);
const ph = (num = 0) => ({ _placeholder: true, num });

/* ---- Engine.IO packets: each type and what is none, everywhere ---- */

const bye = C('transport close', { post: [200, 'ok'], owed: false });
const engine = [
  ['0', S()], ['0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":1,"pingTimeout":1,"maxPayload":1}', S()],
  ['1', bye], ['1and more', bye],
  ['2', closed], ['2probe', closed],
  ['3', S()], ['3probe', S()], [['3', '3', '3', '3'], S()],
  ['4', closed],
  ['5', S()], ['5and more', S()],
  ['6', S()], ['6and more', S()],
  ['7', closed], ['8', closed], ['9', closed], ['-', closed], ['x', closed], ['A', closed], [' 42["server.ping",{}]', closed], ['\u0000', closed], ['\u00e9', closed], ['', closed],
  ['b', closed, 'b: an attachment of nothing, of no packet'], ['b@@@', closed], ['bAAA', closed, 'base64 without its padding'],
];
const likeRequests = ['A', ' 42["server.ping",{}]', '\u0000']; // as bodies: see polling.mjs
const engineRows = EACH.flatMap((state) => engine.filter(([send]) => !(state.endsWith('polling') && likeRequests.includes(send))).map(([send, want, text]) => packet(text ?? [send].flat().map(printable).join(' '), state, send, want)));

/* Base64 that is none, where an attachment is due. */
const base64 = ['bA', 'bAA', 'bAAA', 'bAA=A', 'b=AAA', 'bAA=', 'b====', 'bA===', 'bAB==', 'bAAB=', 'bAQI_', 'bAQI-', 'bAQ ==', 'bAQ\n==', 'bAQ==AQ==', 'bAQIDBA', 'bAQ==\u0000', 'b\u00e9\u00e9'];
const base64Rows = ['joined polling', J].flatMap((state) => base64.map((p) => packet(`an attachment ${printable(p)}`, state, ['451-["server.ping",{"_placeholder":true,"num":0}]', p], closed)));

/* ---- Socket.IO: each type on each transport before and after CONNECT ---- */

const types = [
  // send, before CONNECT, after it
  ['40', S(/^44\{"message":"missing_credentials"/), S()],
  ['41', closed, S()],
  ['4280["server.ping",{}]', closed, S(pong(80))],
  ['430[]', closed, S()],
  ['44{"message":"x"}', closed, closed],
  [['451-81["server.ping",{"_placeholder":true,"num":0}]', blob(3)], closed, S(invalid(81))],
  [['461-0[{"_placeholder":true,"num":0}]', blob(3)], closed, S()],
  ['47[]', closed, closed], ['48', closed, closed], ['49', closed, closed], ['4a', closed, closed], ['4-1', closed, closed], ['4 ', closed, closed],
  [blob(3), closed, closed],
];
const typeRows = EACH.flatMap((state) => types.filter(([send]) => !(send === '41' && state.startsWith('joined'))).map(([send, before, after]) =>
  packet(`type of ${[send].flat().map(printable)[0]}`, state, send, state.startsWith('joined') ? after : before)));

/* ---- CONNECT ---- */

const refusal = (code) => S(new RegExp(`^44\\{"message":"${code}","data":\\{"code":"${code}","detail":"[^"]+","retryable":false\\}\\}$`));
const auth = (t, fields) => `40${JSON.stringify({ token: t.token, ...fields })}`;
const connects = [
  ['40{}', refusal('missing_credentials')],
  ...['null', '[]', '"x"', '123', '1{}', 'true', '{"token":"a"', '{"token":"a"}x', '{"token":"a","token":"a"}', '{token:"a"}', '{"token":"\\u0000"}', '{"token":"\\ud800"}', '{"to\\u0000ken":"x"}', '{"token":"\u0000"}', '\ufeff{}'].map((p) => [`40${p}`, closed]),
  ...['7', 'null', '{"a":1}', '["x"]', '""', 'true'].map((v) => [`40{"token":${v}}`, refusal('missing_credentials')]),
  ...['a.b.c', 'a', '..', 'x'.repeat(9000), 'x'.repeat(60000), 'eyJhbGciOiJub25lIn0.e30.', '%00', '\u00e9.\u00e9.\u00e9'].map((v) => [`40{"token":${JSON.stringify(v)}}`, refusal('invalid_token')]),
  [`40${'{"a":'.repeat(31)}{}${'}'.repeat(31)}`, refusal('missing_credentials'), 'an auth object of 32 levels'],
  [`40${'{"a":'.repeat(32)}{}${'}'.repeat(32)}`, closed, 'an auth object of 33 levels'],
  [`40${'{"a":'.repeat(6000)}1${'}'.repeat(6000)}`, closed, 'an auth object of 6,000 levels'],
  ['40/,{}', refusal('missing_credentials')],
  ['40/', refusal('missing_credentials')],
  ['40/nowhere,{}', S('44/nowhere,{"message":"Invalid namespace"}')],
  ['40/nowhere', S('44/nowhere,{"message":"Invalid namespace"}')],
  ['40/{"token":"x"}', S('44/{"token":"x"},{"message":"Invalid namespace"}')],
  ['40/Game,{}', S('44/Game,{"message":"Invalid namespace"}')],
  ['40/game/,{}', S('44/game/,{"message":"Invalid namespace"}')],
  ['40/game?x=1,{}', S('44/game?x=1,{"message":"Invalid namespace"}')],
  ['40/__proto__,{}', S('44/__proto__,{"message":"Invalid namespace"}')],
  ['40/constructor,{}', S('44/constructor,{"message":"Invalid namespace"}')],
  ['40/\u00e9\u20ac\u{1f600},{}', S('44/\u00e9\u20ac\u{1f600},{"message":"Invalid namespace"}')],
  ['40/"\\\n,{}', S('44/"\\\n,{"message":"Invalid namespace"}')],
  ['40//,{}', S('44//,{"message":"Invalid namespace"}')],
  ['40/game,{}', S(/^44\/game,\{"message":"missing_credentials"/)],
  [`40/${'n'.repeat(127)},{}`, S(`44/${'n'.repeat(127)},{"message":"Invalid namespace"}`), 'a namespace of 128 bytes'],
  [`40/${'n'.repeat(128)},{}`, closed, 'a namespace of 129 bytes'],
  ['40/ga\u0000me,{}', closed],
  ['40nowhere,{}', closed],
  [Array.from({ length: 9 }, (_, i) => `40/n${i},{}`), S(...Array.from({ length: 9 }, (_, i) => `44/n${i},{"message":"Invalid namespace"}`)), 'nine CONNECTs, and the tenth'],
  [Array.from({ length: 15 }, (_, i) => `40/n${i},{}`), C('forced close', { replies: Array.from({ length: 10 }, (_, i) => `44/n${i},{"message":"Invalid namespace"}`) }), 'fifteen CONNECTs at once'],
];
/* The same with a good token; `joins`: whether the session is joined by it. */
const joins = [
  ['other members', { extra: {}, constructor: 1, toString: null }],
  ['a member __proto__', JSON.parse('{"__proto__":{"token":1}}')],
  ['pid and offset: no recovery', { pid: 'P', offset: 'O' }],
  ['a device id of 64 characters', { device_id: 'd'.repeat(64) }],
];
const devices = [['of 65 characters', 'd'.repeat(65)], ['that is empty', ''], ['with a slash', 'a/b'], ['that is a number', 7], ['that is null', null], ['with NUL escaped as text', '\\u0000'], ['in UTF-8', '\u00e9']];
const connectRows = [
  ...on(connects, 'ws'),
  ...joins.map(([name, fields]) => ({
    name: `ws: CONNECT with ${name}`,
    async play(t) {
      const s = await t.ws();
      s.ws.send(auth(t, fields));
      const before = await s.until(/^42\["session\.ready",/);
      assert.equal(before.length, 2);
      assert.match(before[0], /^40\{"sid":"[\w-]{20}"\}$/, 'sid and nothing else');
      s.joined = true;
      await judge(s, S());
    },
  })),
  ...devices.map(([name, device_id]) => ({
    name: `ws: CONNECT with a device id ${name}`,
    async play(t) {
      const s = await t.ws();
      s.ws.send(auth(t, { device_id }));
      await judge(s, refusal('validation_failed'));
    },
  })),
  ...['pid', 'none'].map((with_) => ({
    name: `ws: CONNECT with a revoked token, ${with_ === 'pid' ? 'pid and offset' : 'alone'}`,
    async play(t) {
      const s = await t.ws();
      s.ws.send(`40${JSON.stringify({ token: t.run.revoked, ...(with_ === 'pid' ? { pid: 'P', offset: 'O' } : {}) })}`);
      await judge(s, refusal('token_revoked'));
    },
  })),
  ...[
    ['an event in the segment of CONNECT', (s) => [s.connect, '4280["server.ping",{}]'], closed],
    ['an ack in the segment of CONNECT', (s) => [s.connect, '430[]'], closed],
    ['two CONNECTs in one segment', (s) => [s.connect, s.connect], S(/^40\{"sid"/)],
    ['CONNECT, DISCONNECT, CONNECT in one segment', (s) => [s.connect, '41', s.connect], S(/^40\{"sid"/)],
    ['CONNECT and the end in one segment', (s) => [s.connect, '1'], bye],
  ].flatMap(([name, send, want]) => ['ws', 'polling'].map((state) => ({
    name: `${state}: ${name}`,
    async play(t) {
      const s = await states[state](t);
      const answer = await s.send(...send(s));
      if (want.kind === 'C') return judge(s, want, answer);
      const before = await s.until(/^42\["session\.ready",/);
      assert.match(before[0], /^40\{"sid":"[\w-]{20}"\}$/);
      assert.equal(before.length, 2);
      s.joined = true;
      return judge(s, S());
    },
  }))),
  { name: 'joined ws: CONNECT of another user is ignored', play: async (t) => { const s = await states[J](t); s.ws.send(`40${JSON.stringify({ token: t.run.other })}`); await sleep(200); await judge(s, S()); } },
  packet('CONNECT with a bad token is ignored', J, '40{"token":"a.b.c"}', S()),
  packet('CONNECT with broken JSON', J, '40{"token"', closed),
  packet('a namespace of nobody beside "/"', J, '40/nowhere,{}', S('44/nowhere,{"message":"Invalid namespace"}')),
  packet('CONNECT without a token of the other namespace beside "/"', J, '40/game,{}', S(/^44\/game,\{"message":"missing_credentials"/)),
  packet('CONNECT after leaving', 'left', [], S()),
  packet('CONNECT after a refusal', 'refused', [], S()),
];

/* ---- events ---- */

const nested = (n) => `4282["server.ping",${'['.repeat(n - 1)}${']'.repeat(n - 1)}]`;
const events = [
  ...['42', '42[]', '42{}', '42[null]', '42"x"', '42[true]', '42[{}]', '42[["server.ping"]]', '42["server.ping"', '42["server.ping",{}', '42]', '42["server.ping",{}]]', '42["server.ping",{}]x', '42["server.ping",{}],', '42["server.ping",]', "42['server.ping']",
    '42[server.ping]', '42["server.ping",NaN]', '42["server.ping",Infinity]', '42["server.ping",01]', '42["server.ping",.5]', '42["server.ping",1.]', '42["server.ping",0x1]', '42["server.ping",1e999]', '42["server.ping",9223372036854775808]', '42["server.ping",-9223372036854775809]',
    `42["server.ping",${'9'.repeat(10000)}]`, '42["server.ping",tru]', '42["server.ping","\\x"]', '42["server.ping","\\ud800"]', '42["server.ping","\\udc00\\ud800"]', '42["server.ping","\u0001"]', '42["server.ping","\n"]', '42["server.ping",{"a":1,"a":2}]', '42["server.ping",{"t":{"a":1,"a":2}}]',
    '42["server.ping",{"a\\u0000":1}]', '42["server.ping","\\u0000"]', '42["server.\\u0000ping"]', '42["server.ping",\u0000]', '42["server.ping",{}]\u0000', '42 ["server.ping",{}]', '42\ufeff["server.ping",{}]', '42/*x*/["server.ping"]', '42["server.ping",{}]//', '42,["server.ping",{}]', '42-1["server.ping",{}]', '42+1["server.ping",{}]', '421.5["server.ping",{}]', '421e1["server.ping",{}]',
    '421,["server.ping",{}]'].map((p) => [p, closed]),
  ...['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'].flatMap((name) => [[`42["${name}",{}]`, closed], [`42${83}["${name}",{}]`, closed]]),
  ['42["conn\\u0065ct"]', closed],
  ...['error', 'Connect', 'connect ', '', 'message', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'server.ping ', 'SERVER.PING', 'server.ping\\n', '*', '%s%n', "'; drop table entries; --", '../..', '\\"', '\u00e9', '\u{1f600}'].map((name) => [`4284["${name}",{}]`, S(unknown(84))]),
  ...['session.ready', 'message.new', 'presence.updated', 'server.draining'].map((name) => [`4284["${name}",{}]`, S(unknown(84)), `an event of ours: ${name}`]),
  ...['7', '1.5', '-1', '1e300', '0', '-0', '9007199254740993'].map((name) => [`4284[${name},{}]`, S(unknown(84)), `the number ${name} as name`]),
  ...[62, 63, 64, 65, 10000].flatMap((n) => [[`4284["${'a'.repeat(n)}"]`, S(unknown(84)), `a name of ${n} bytes`], [`4284["${'a'.repeat(n - 1)}\u20ac"]`, S(unknown(84)), `a name with three bytes from byte ${n} on`]]),
  ...[61, 62, 63].map((n) => [`4284["${'a'.repeat(n)}\u{1f600}"]`, S(unknown(84)), `a name with four bytes from byte ${n + 1} on`]),
  ...['"x"', '"\\ud83d\\ude00"'].map((v) => [`4285["server.ping",{"t":${v}}]`, S(pong(85))]),
  ...['null', '[[[]]]', '{"_placeholder":true,"num":7}'].map((v) => [`4285["server.ping",{"t":${v}}]`, S(invalid(85))]),
  ['42["nobody.knows",{}]', S(), 'an unknown name without an ack id'],
  ['42["server.ping",{}]', S(), 'server.ping without an ack id'],
  ...['["server.ping"]', '["server.ping",{},{}]', '["server.ping",null]', '["server.ping",[]]', '["server.ping","x"]', '["server.ping",7]', '["server.ping",true]', '["server.ping",{"nobody":1}]', '["server.ping",{"__proto__":{"t":1}}]', '["server.ping",{"constructor":1}]', '["server.ping",{"T":1}]',
    '["server.ping",{"":1}]', '["server.ping",{"_placeholder":true,"num":0}]'].map((p) => [`4285${p}`, S(invalid(85))]),
  ...['{"to":"bob"}', '{"to":7,"text":"x"}', '{"to":"bob","text":{}}', '{"to":"bob","text":"x","__proto__":{}}', '{"to":"","text":"x"}', '{"to":"b/ob","text":"x"}', `{"to":"${'b'.repeat(1000)}","text":"x"}`, '{"to":"bob","text":"x","data":[]}', '{"to":"bob","text":"x","client_msg_id":7}', '{}'].map((p) => [`4285["message.send",${p}]`, S(/^4385\[\{"ok":false,"error":\{"code":"(validation_failed|not_found)"/)]),
  ...['{"conversation_id":"x"}', '{"conversation_id":"grp_00000000000000000000000000"}', '{"conversation_id":"../.."}', '{"limit":-1}', '{"conversation_id":"dir_00000000000000000000000000","limit":1e9}', '{"after_seq":9007199254740993}'].map((p) => [`4285["history.get",${p}]`, S(/^4385\[\{"ok":false,"error":\{"code":"(validation_failed|not_found)"/)]),
  ['4286["server.ping",{"t":9007199254740993}]', S(/^4386\[/), 'an integer beyond 2^53'],
  ['4286["server.ping",{"t":-0}]', S(/^4386\[/)],
  ['4286["server.ping",{"t":1e2}]', S(/^4386\[/)],
  ['4286["server.ping",{"t":1e-400}]', S(/^4386\[/)],
  [' 4286["server.ping",{}]', closed, 'a blank before the type'],
  ['4286["server.ping",{}] \t\r\n ', S(pong(86)), 'blanks behind the JSON'],
  ['4286[ "server.ping" , { } ]', S(pong(86)), 'blanks within the JSON'],
  ['4286["server\\u002eping",{}]', S(pong(86)), 'an escaped name'],
  ['42/,86["server.ping",{}]', S(pong(86)), 'the namespace / spelt out'],
  ['42/game,86["server.ping",{}]', closed], ['42/nowhere,86["server.ping",{}]', closed], ['42/game', closed], ['42/', closed], ['42/86["server.ping",{}]', closed],
  [`42/${'n'.repeat(129)},["x"]`, closed, 'an event for a namespace of 130 bytes'],
  [nested(32), S(invalid(82)), '32 levels'], [nested(33), closed, '33 levels'], [nested(10000), closed, '10,000 levels'], [`42${'['.repeat(100000)}`, closed, '100,000 levels that are not closed'], [`42["server.ping",${'{"a":'.repeat(10000)}1${'}'.repeat(10000)}]`, closed, '10,000 objects'],
  [`4286["server.ping",{"t":1,"x":${JSON.stringify('['.repeat(1000))}}]`, S(invalid(86)), 'a thousand brackets in a string'],
  // ids of acks
  ['420["server.ping",{}]', S(pong(0))], ['42007["server.ping",{}]', S(pong(7))], ['42000000000000000["server.ping",{}]', S(pong(0)), '15 zeros as ack id'],
  ['42999999999999999["server.ping",{}]', S(pong(999999999999999))], ['421000000000000000["server.ping",{}]', closed, '16 digits as ack id'], ['42000000000000000001["server.ping",{}]', closed, '18 digits with zeros in front'], [`42${'1'.repeat(20)}["server.ping",{}]`, closed, '20 digits as ack id'], [`42${'1'.repeat(100000)}["x"]`, closed, '100,000 digits as ack id'],
  [['4287["server.ping",{}]', '4287["server.ping",{}]', '4287["nobody.knows"]'], S(pong(87), pong(87), unknown(87)), 'the same ack id for three events'],
  [Array.from({ length: 150 }, (_, i) => `42${i}["server.ping",{}]`), S(...Array.from({ length: 150 }, (_, i) => pong(i))), '150 events in one segment'],
];

/* ---- acks from the client ---- */

const acks = [
  ...['43', '430', '43[]', '430{}', '430"x"', '430null', '430[', '430[]]', '43-1[]', '43x[]', `43${'1'.repeat(16)}[]`, '430 []', '43/game,0[]', '43/nowhere,0[]', '430[{"a":1,"a":1}]'].map((p) => [p, closed]),
  ...['430[]', '43007[]', `43${'9'.repeat(15)}[]`, '430[{"ok":true}]', '430[null,null]', '43/,0[]', '431[{"__proto__":{}}]'].map((p) => [p, S()]),
  [Array.from({ length: 300 }, (_, i) => `43${i}[]`), S(), '300 acks of nothing'],
  [nested(33).replace('4282', '4382'), closed, 'an ack of 33 levels'],
];

/* ---- DISCONNECT ---- */

const disconnects = ['41{}', '41null', '41[]', '411', '41"x"', '41 ', '41/game,', '41/game', '41/nowhere,', '41/,{}'].map((p) => [p, closed]);

/* ---- binary packets ---- */

const run = (count, id, json, ...blobs) => [`45${count}-${id}${json}`, ...blobs];
const args = (n) => JSON.stringify(['server.ping', ...Array.from({ length: n }, (_, i) => ph(i))]);
const binaries = [
  ...['45', '45-', '45-1-["x"]', '45x-["x"]', '451.5-["x"]', '451e1-["x"]', '45 1-["x"]', '45+1-["x"]', '451["x"]', '45["x"]', '451', '451-', '451-{}', '451-[]', '451-["connect"]', '451-[{"_placeholder":true,"num":0}]', '4511-["x"]', '4599-["x"]', '45010-["x"]', '451000000-["x"]', '451000000000000000000-["x"]', '46', '46-', '461-[]', '461-0', '461-0{}', '4611-0[]', '460-[]',
    '451-/game,["x"]', '451-/nowhere,["x"]', '451/game,-["x"]'].map((p) => [[p, blob(1)], closed, `${printable(p)} and an attachment`]),
  [`45${'9'.repeat(400)}-["x"]`, closed, '400 digits of attachments'],
  ['450-88["server.ping",{}]', S(pong(88)), 'no attachments, announced'],
  ['450-["server.ping",{"_placeholder":true,"num":0}]', closed, 'no attachments and a placeholder'],
  ['460-0[]', S(), 'a binary ack without attachments'],
  [run('01', 88, args(1), blob(1)), S(invalid(88)), 'a count with a zero in front'],
  ...Array.from({ length: 10 }, (_, i) => [run(i + 1, 88, args(i + 1), ...Array.from({ length: i + 1 }, () => blob(4))), S(invalid(88)), `${i + 1} attachments`]),
  ...Array.from({ length: 9 }, (_, i) => [[...run(i + 2, 88, args(i + 2), ...Array.from({ length: i + 1 }, () => blob(4))), '4289["server.ping",{}]'], closed, `text instead of attachment ${i + 2} of ${i + 2}`]),
  ...[1, 5, 10].map((n) => [[...run(n, 88, args(n), ...Array.from({ length: n }, () => blob(4))), blob(4)], C('parse error', { replies: [invalid(88)] }), `one attachment more than the ${n} announced`]),
  [run(1, 88, args(1), ''), closed, 'an empty text where an attachment is due'],
  [run(1, 88, args(1), Buffer.alloc(0)), S(invalid(88)), 'an attachment of no bytes'],
  [run(1, 88, args(1), 'bAQID'), S(invalid(88)), 'an attachment in base64'],
  [run(1, 88, args(1), 'b'), S(invalid(88)), 'an attachment in base64 of no bytes'],
  [run(2, 88, args(2), blob(1), '3', '6', blob(1)), S(invalid(88)), 'pongs and noops between attachments'],
  [[...run(2, 88, args(2), blob(1)), '2'], closed, 'a ping between attachments'],
  [[...run(2, 88, args(2), blob(1)), '1'], bye, 'the end between attachments'],
  [[...run(2, 88, args(2), blob(1)), '41'], closed, 'DISCONNECT between attachments'],
  [[...run(2, 88, args(2), blob(1)), '40{}'], closed, 'CONNECT between attachments'],
  [[...run(1, 88, args(1)), ...run(1, 89, args(1))], closed, 'a run within a run'],
  [[...run(1, 88, args(1), blob(1)), ...run(1, 89, args(1), blob(1))], S(invalid(88), invalid(89)), 'a run behind a run'],
  [run(4, 88, args(4), ...Array.from({ length: 4 }, () => blob(1000000))), S(invalid(88)), '4,000,000 bytes of attachments'],
  [run(5, 88, args(5), ...Array.from({ length: 4 }, () => blob(1000000)), blob(1)), closed, '4,000,001 bytes of attachments'],
  ...['"splice"', '-1', '1', '1.5', '0.0', '1e9', '1e0', 'null', 'true', '[]', '{}', '"0"', '9223372036854775807', '{"_placeholder":true,"num":0}'].map((num) => [run(1, 88, `["server.ping",{"_placeholder":true,"num":${num}}]`, blob(1)), closed, `a placeholder for ${num}`]),
  [run(1, 88, '["server.ping",{"_placeholder":true}]', blob(1)), closed, 'a placeholder without a number'],
  [run(1, 88, '["server.ping",{"a":[[{"b":{"_placeholder":true,"num":1}}]]}]', blob(1)), closed, 'a wrong placeholder deep within'],
  [run(1, 88, '["server.ping",{"a":[[{"b":{"_placeholder":true,"num":0}}]]}]', blob(1)), S(invalid(88)), 'a right placeholder deep within'],
  [run(1, 88, '["server.ping",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', blob(1)), S(invalid(88)), 'the same placeholder twice'],
  [run(2, 88, '["server.ping",{"_placeholder":true,"num":1}]', blob(1), blob(1)), S(invalid(88)), 'an attachment that nothing stands for'],
  [run(1, 88, '["server.ping",{"_placeholder":false,"num":9}]', blob(1)), S(invalid(88)), '_placeholder false is data'],
  [run(1, 88, '["server.ping",{"_placeholder":"true","num":9}]', blob(1)), S(invalid(88)), '_placeholder "true" is data'],
  [run(1, 88, '["server.ping",{"_placeholder":1,"num":9}]', blob(1)), S(invalid(88)), '_placeholder 1 is data'],
  [run(1, 88, '["server.ping",{"_placeholder":true,"num":0,"x":[1]}]', blob(1)), S(invalid(88)), 'a placeholder with another member'],
  [['461-0[{"_placeholder":true,"num":1}]', blob(1)], closed, 'a wrong placeholder in an ack'],
  [['461-0[{"_placeholder":true,"num":0}]', blob(100000)], S(), 'a binary ack of 100,000 bytes'],
  ['4288["server.ping",{"_placeholder":true,"num":99}]', S(invalid(88)), 'a placeholder in a plain event is data'],
  ['430[{"_placeholder":true,"num":99}]', S(), 'a placeholder in a plain ack is data'],
  [run(1, '', '["nobody.knows",{"_placeholder":true,"num":0}]', blob(1)), S(), 'a binary event that nobody knows'],
  [run(1, 88, '["nobody.knows",{"_placeholder":true,"num":0}]', blob(1)), S(unknown(88)), 'a binary event that nobody knows, with ack'],
];

/* ---- two namespaces, left namespaces ---- */

const left = [
  ['41', S()], [['41', '41', '41'], S(), '41 thrice'], ['4290["server.ping",{}]', S(), 'an event under way is dropped'], ['430[]', S(), 'an ack under way is dropped'], [run(1, 90, args(1), blob(1)), S(), 'a binary event under way is dropped'], ['42/game,["x"]', closed], ['42[]', closed], [blob(1), closed],
];
const two = [
  ['42/game,91["server.ping",{}]', S(), 'an event for the refused one is dropped'], ['41/game,', S(), 'DISCONNECT from the refused one'], ['43/game,0[]', S(), 'an ack for the refused one'], [['45' + '1-/game,91["x",{"_placeholder":true,"num":0}]', blob(1)], S(), 'a binary event for the refused one'], ['42/nowhere,["x"]', closed, 'an event for one of nobody'],
  ['4291["server.ping",{}]', S(pong(91)), 'an event for the other one'],
];
const both = [
  ['42/game,91["server.ping",{}]', S(/^43\/game,91\[\{"ok":true/), 'an event in each'],
  [['42/game,91["server.ping",{}]', '4291["server.ping",{}]'], S(/^43\/game,91\[\{"ok":true/, pong(91)), 'the same ack id in both'],
  [['451-/game,91["server.ping",{"_placeholder":true,"num":0}]', '4291["server.ping",{}]'], closed, 'an event of the one within a run of the other'],
  [['451-/game,91["server.ping",{"_placeholder":true,"num":0}]', blob(1), '4291["server.ping",{}]'], S(/^43\/game,91\[\{"ok":false/, pong(91)), 'a run of the one, an event of the other'],
  [['41/game,', '42/game,91["server.ping",{}]', '4291["server.ping",{}]'], S(pong(91)), 'the one is left, and an event for it is dropped'],
  [['41/game', '41/game,'], S(), 'the one is left twice'],
  ['40/game,{}', S(), 'CONNECT again'],
  ['42/game,91["connect"]', closed, 'a reserved name in the other'],
  ['41/game,{}', closed, 'DISCONNECT with a payload from the other'],
  ['42/Game,91["server.ping",{}]', closed, 'an event of the other in capitals'],
];
const beforeConnect = [['42["message.send",{"to":"bob","text":"unseen"}]', closed], ['41/game,', closed], ['42/game,["x"]', closed], ['43/game,0[]', closed], ['42["connect"]', closed]];

/* ---- ways of their own ---- */

const sendLeft = (list) => list.map(([send, want, text]) => ({
  name: `left: ${text ?? printable(send)}`,
  async play(t) {
    const s = await states.left(t);
    await s.send(...[send].flat());
    if (want.kind === 'C') return judge(s, want);
    const before = await s.join();
    assert.deepEqual(before, [], 'silence');
    return judge(s, S());
  },
}));

const own = [
  {
    name: 'joined ws: DISCONNECT from both namespaces, then CONNECT',
    async play(t) {
      const s = await states['two namespaces'](t);
      s.ws.send('41', '41/game,');
      s.joined = false;
      await judge(s, S());
    },
  },
  {
    name: 'joined ws: the ack of a message thrice, then by another id',
    async play(t) {
      t.token = t.run.readers[0].token;
      const s = await states[J](t);
      const { id } = await t.run.message(t.run.readers[0].id);
      const packets = await s.until(/^42\d+\["message\.new",/);
      const ack = /^42(\d+)/.exec(packets.at(-1))[1];
      assert.ok(packets.at(-1).includes(id));
      await judge(s, S(), s.ws.send(`43${ack}[]`, `43${ack}[]`, `43${ack}[{"ok":false}]`, `43${Number(ack) + 1}[]`));
    },
  },
  {
    name: 'joined ws: the ack of a message of another user',
    async play(t) {
      const s = await states[J](t);
      const other = await t.run.message(t.run.readers[1].id);
      s.ws.send(...Array.from({ length: 50 }, (_, i) => `43${i}[]`));
      await judge(s, S());
      assert.ok(other.id);
    },
  },
  {
    name: 'joined ws: 400 events in one segment: some are over the limit, all are answered',
    async play(t) {
      const s = await states[J](t);
      s.ws.send(...Array.from({ length: 400 }, (_, i) => `42${1000 + i}["server.ping",{}]`));
      await s.until(/^431399\[/);
      await sleep(500); // until there is a token for the echo
      await judge(s, S());
    },
  },
  {
    name: 'joined polling: 300 acks come in answers of at most 16 packets', // see Session.until
    async play(t) {
      const s = await states['joined polling'](t);
      const r = await s.send(...Array.from({ length: 150 }, (_, i) => `42${i}["server.ping",{}]`));
      assert.equal(r?.status, 200);
      await judge(s, S(...Array.from({ length: 150 }, (_, i) => pong(i))));
    },
  },
  {
    name: 'joined ws with b64=1: it goes on', state: 'joined ws with b64=1', send: ['4292["server.ping",{}]', '451-93["server.ping",{"_placeholder":true,"num":0}]', 'bAQ=='], want: S(pong(92), invalid(93)),
  },
  { name: 'joined ws: a run that is never completed', slow: true, state: J, send: [`452-["server.ping",${JSON.stringify(ph(0))}]`, blob(1)], want: C('parse error', { within: 45000 }) },
  {
    name: 'joined ws: a run with an attachment every 4 s', slow: true,
    async play(t) {
      const s = await states[J](t);
      s.ws.send(`4510-["server.ping",${JSON.stringify(ph(0))}]`);
      const begun = Date.now();
      while (s.ws.code === undefined && !s.ws.tcp.end && Date.now() - begun < 60000) {
        s.ws.send(blob(1));
        await Promise.race([sleep(4000), s.ws.closed(60000).catch(() => {})]);
      }
      assert.ok(Date.now() - begun > 25000, 'not before its 30 s');
      await judge(s, C());
    },
  },
  { name: 'ws: never a CONNECT', slow: true, state: 'ws', send: ['3', '6'], want: C('connect timeout', { within: 30000 }) },
  {
    name: 'polling: never a CONNECT', slow: true,
    async play(t) {
      const s = await t.polling();
      const r = await s.get();
      assert.deepEqual([r?.status, r?.body], [200, '1']);
      s.gone('connect timeout');
      await s.unknown();
    },
  },
  { name: 'ws: a binary event without its attachment, and never a CONNECT', slow: true, state: 'ws', send: run(1, 88, args(1)), want: C('connect timeout', { within: 30000 }) },
  { name: 'left: never again a CONNECT', slow: true, state: 'left', send: [], want: C('connect timeout', { within: 30000 }) },
  { name: 'refused: never again a CONNECT', slow: true, state: 'refused', send: [], want: C('connect timeout', { within: 30000 }) },
  { name: 'two namespaces: "/" keeps the session beyond the connect timeout', slow: true, state: 'two namespaces', send: async () => { await sleep(12000); }, want: S() },
  {
    name: 'joined ws: no pong', slow: true,
    async play(t) {
      const s = await states[J](t);
      s.ws.answersPings = false;
      s.gone('ping timeout');
      assert.equal(await s.ws.closed(45000), 1005);
      await s.unknown();
    },
  },
  {
    name: 'joined ws: no pong, but events', slow: true,
    async play(t) {
      const s = await states[J](t);
      s.ws.answersPings = false;
      while (s.ws.code === undefined && !s.ws.tcp.end) {
        s.ws.send('4294["server.ping",{}]', '6');
        await Promise.race([sleep(500), s.ws.closed(60000).catch(() => {})]);
      }
      s.gone('ping timeout');
      await s.unknown();
    },
  },
  {
    name: 'joined polling: no poll', slow: true,
    async play(t) {
      const s = await states['joined polling'](t);
      s.gone('ping timeout');
      await sleep(1000 * 21);
      await s.unknown();
    },
  },
];

export const rows = [
  ...engineRows, ...base64Rows, ...typeRows, ...connectRows, ...on(events, J), ...on(acks, J), ...on(disconnects, J), ...on(binaries, J),
  ...on(beforeConnect, 'ws'), ...sendLeft(left), ...on(two, 'two namespaces'), ...on(both, 'both namespaces'), ...own,
];
