// Socket.IO v5 as the protocol's text has it, against the echo server: the gateway's own protocol objects.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { CALM, Echo, root } from './echo.mjs';

const SEPARATOR = '\x1e';
const bytes = (...values) => Buffer.from(values);
const hole = (num) => `{"_placeholder":true,"num":${num}}`;

let echo, patient; // both ping rarely; the second also waits long for CONNECT, so that an end has another reason
before(async () => {
  echo = await Echo.start(CALM);
  patient = await Echo.start({ profile: 'client-suite', ...CALM });
});
after(async () => {
  await echo.stop();
  await patient.stop();
});

const open = async (t, server = echo) => {
  const w = await server.websocket('/socket.io/');
  t.after(() => w.ws.terminate());
  return w;
};
const connected = async (t, nsp) => {
  const w = await open(t);
  await w.connect(nsp);
  return w;
};
const assertLives = async (w) => {
  w.send('42["message","alive"]');
  assert.equal(await w.next(), '42["message-back","alive"]');
};

describe('CONNECT', () => {
  const cases = [
    ['to /', '40', '40', '42["auth",{}]'],
    ['to / by its name', '40/,', '40', '42["auth",{}]'],
    ['with a payload', '40{"token":"123"}', '40', '42["auth",{"token":"123"}]'],
    ['with an empty payload', '40{}', '40', '42["auth",{}]'],
    ['to another namespace', '40/custom,', '40/custom,', '42/custom,["auth",{}]'],
    ['without the comma', '40/custom', '40/custom,', '42/custom,["auth",{}]'],
    ['to another namespace with a payload', '40/custom,{"token":"abc"}', '40/custom,', '42/custom,["auth",{"token":"abc"}]'],
    ['with a payload that passes unchanged', '40{"z": 1.0, "a":1e3,"10":-0,"9":123456789012345678901 }', '40', '42["auth",{"z": 1.0, "a":1e3,"10":-0,"9":123456789012345678901 }]'],
  ];
  for (const [what, request, reply, auth] of cases) {
    test(what, async (t) => {
      const w = await open(t);
      w.send(request);
      const [first, second] = await w.take(2);
      assert.ok(first.startsWith(`${reply}{`), first);
      const body = JSON.parse(first.slice(reply.length));
      assert.deepEqual(Object.keys(body), ['sid']);
      assert.match(body.sid, /^[A-Za-z0-9_-]{20}$/);
      assert.notEqual(body.sid, JSON.parse(w.opened.slice(1)).sid, 'it is public, the other is a secret');
      assert.equal(second, auth);
    });
  }

  test('by polling', async () => {
    const session = await echo.polling('/socket.io/');
    await session.post('40{"a":1}');
    const [reply, auth] = await session.packets(2);
    assert.match(reply, /^40\{"sid":"[A-Za-z0-9_-]{20}"\}$/);
    assert.equal(auth, '42["auth",{"a":1}]');
  });

  test('both namespaces on one session, each with an id and a payload of its own', async (t) => {
    const w = await open(t);
    const one = await w.connect('', '{"n":1}'), two = await w.connect('/custom,', '{"n":2}');
    assert.notEqual(one.sid, two.sid);
    assert.equal(one.event, '42["auth",{"n":1}]');
    assert.equal(two.event, '42/custom,["auth",{"n":2}]');
    await assertLives(w);
  });

  for (const nsp of ['/random', '/custom/', '/Custom', '/custom?a=b', '/__proto__', '/a"b', '/custom{}', `/${'n'.repeat(127)}`]) {
    test(`to ${nsp.slice(0, 20)} is refused; the session goes on`, async (t) => {
      const w = await open(t);
      w.send(`40${nsp},{"token":"x"}`);
      assert.equal(await w.next(), `44${nsp},{"message":"Invalid namespace"}`);
      await w.connect();
      await assertLives(w);
    });
  }

  test('asked again is ignored', async (t) => {
    const w = await connected(t);
    w.send('40', '40{"other":1}');
    await assertLives(w);
  });

  test('asked again after DISCONNECT is answered, with a new id', async (t) => {
    const w = await open(t);
    const one = await w.connect();
    w.send('41');
    const two = await w.connect();
    assert.notEqual(one.sid, two.sid);
    await assertLives(w);
  });

  for (const packet of ['40[]', '40"a"', '40123', '40null', '40{', '40{}x', '401{}', '40/foo,[]', `40/${'n'.repeat(128)},`]) {
    test(`${packet.slice(0, 20)} ends the session`, async (t) => {
      const w = await open(t, patient);
      w.send(packet);
      assert.equal(await w.closed(), 1005);
    });
  }

  test('nothing at all for connectTimeout ends the session', async (t) => {
    const begun = performance.now();
    const w = await open(t);
    await w.closed();
    assert.ok(performance.now() - begun > 950, 'not before its time');
  });

  test('a namespace that was refused does not count', async (t) => {
    const w = await open(t);
    w.send('40/nope');
    await w.next();
    await w.closed();
  });

  test('raw Engine.IO knows nothing of all this', async (t) => {
    const w = await echo.websocket('/engine.io/');
    t.after(() => w.ws.terminate());
    w.send('40', '42["message"]');
    assert.deepEqual(await w.take(2), ['40', '42["message"]']);
  });
});

describe('DISCONNECT', () => {
  test('from / leaves the session open, and closes it when nothing follows', async (t) => {
    const w = await connected(t);
    const begun = performance.now();
    w.send('41');
    await w.closed();
    assert.ok(performance.now() - begun > 950, 'connectTimeout runs anew');
  });

  test('from one namespace leaves the other; late packets for it are dropped', async (t) => {
    const w = await connected(t);
    await w.connect('/custom,');
    w.send('41/custom,', '42/custom,["message"]', '41/custom', '42["message","to /"]');
    assert.equal(await w.next(), '42["message-back","to /"]');
  });

  test('the next ping still comes', async (t) => {
    const timed = await Echo.start({ 'ping-timeout': 20000 });
    t.after(() => timed.stop());
    const w = await timed.websocket('/socket.io/', '', { pong: false });
    w.send('40');
    await w.take(2);
    w.send('41');
    assert.equal(await w.next(), '2');
    await w.close();
  });

  for (const packet of ['41{}', '41[]', '411']) {
    test(`${packet} ends the session`, async (t) => {
      const w = await connected(t);
      w.send(packet);
      await w.closed();
    });
  }
});

describe('EVENT and ACK', () => {
  // What is sent, and what comes back.
  const cases = [
    ['42["message",1,"2",{"3":[true]}]', '42["message-back",1,"2",{"3":[true]}]'],
    ['42["message"]', '42["message-back"]'],
    ['42/,["message",1]', '42["message-back",1]'],
    ['42["message",null,[],{}]', '42["message-back",null,[],{}]'],
    ['42["message","äöü € 😀",""]', '42["message-back","äöü € 😀",""]'],
    ['42456["message-with-ack",1,"2",{"3":[false]}]', '43456[1,"2",{"3":[false]}]'],
    ['420["message-with-ack"]', '430[]'],
    ['42007["message-with-ack",1]', '437[1]'],
    ['42999999999999999["message-with-ack",1]', '43999999999999999[1]'],
    ['42["message",{"_placeholder":true,"num":"x"}]', '42["message-back",{"_placeholder":true,"num":"x"}]'],
  ];
  for (const [sent, expected] of cases) {
    test(sent, async (t) => {
      const w = await connected(t);
      w.send(sent);
      assert.equal(await w.next(), expected);
    });

    test(`${sent} by polling`, async () => {
      const session = await echo.polling('/socket.io/');
      await session.post(`40${SEPARATOR}${sent}`);
      assert.equal((await session.packets(3))[2], expected);
    });
  }

  // JSON that no reader and writer gives back as it came.
  const unchanged = [
    '1.0', '1e3', '1E+3', '-0', '-0.0', '0.10', '1e400', '-1e-400', '123456789012345678901', '-9223372036854775809', '9007199254740993', '0.1234567890123456789',
    '{"b":1,"a":2,"10":3,"9":4}', '{"a":1,"a":2}', '{"__proto__":{"x":1},"constructor":null}', '{"":0}', '"\\u00e4\\/\\n"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '{"\\u0000":1}',
    '[ 1 ,\t2 ]', '{ "a" : [ ] }', '"\\"]"', '"]"', '[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]',
  ];
  for (const json of unchanged) {
    test(`${json} passes unchanged`, async (t) => {
      const w = await connected(t);
      w.send(`42["message",${json},${json}]`, `427["message-with-ack",${json}]`, `451-["message",${hole(0)},${json}]`, bytes(1));
      assert.deepEqual(await w.take(4), [`42["message-back",${json},${json}]`, `437[${json}]`, `451-["message-back",${hole(0)},${json}]`, bytes(1)]);
    });
  }

  test('blanks around the arguments are not part of them', async (t) => {
    const w = await connected(t);
    w.send('42[ "message" , 1 , 2 ] \n', '423[ "message-with-ack" ]\t', '42[\n"message"\n]');
    assert.deepEqual(await w.take(3), ['42["message-back",1 , 2]', '433[]', '42["message-back"]']);
  });

  test('what nobody listens to is dropped: other names, numbers as names, other namespaces, acks, no ack id', async (t) => {
    const w = await connected(t);
    await w.connect('/custom,');
    w.send('42["other"]', '421["other"]', '42[1]', '42["error"]', '42["__proto__"]', '42/custom,["message",1]', '42/custom,1["message-with-ack",1]', '430[]', '4399["x"]', '42["message-with-ack",1]');
    await assertLives(w);
  });

  test('a million bytes', async (t) => {
    const w = await connected(t);
    const text = 'x'.repeat(999000);
    w.send(`42["message","${text}"]`);
    assert.equal(await w.next(), `42["message-back","${text}"]`);
  });

  const broken = [
    '4', '4abc', '47', '48[]', '49', '42', '42[]', '42{}', '42[null]', '42[true]', '42[{}]', '42[[]]', '42"x"', '42["m"', '42["m"]x', '42["m"][]', '42 ["m"]', '42abc["message",1]',
    '421000000000000000["message"]', '42["connect"]', '42["connect_error"]', '42["disconnect"]', '42["disconnecting"]', '42["newListener"]', '42["removeListener"]',
    '42["message",01]', '42["message",1.]', '42["message",1e]', '42["message",+1]', '42["message",\'a\']', '42["message",NaN]', '42["message","\\x"]', '42["message","\t"]', '42["message",]',
    '43', '43[]', '431', '431{}', '44{"message":"x"}', '45', '46', '45["message"]', '45-["message"]', '451["message"]', '45-1-["message"]', '45x-["message"]', '451.5-["message"]', '451e1-["message"]',
    '4511-["message"]', '451000000-["message"]', '45999999999999999999-["message"]', '450-{}', '461-[]', `42["message",${'['.repeat(32)}${']'.repeat(32)}]`,
  ];
  for (const packet of broken) {
    test(`${packet.slice(0, 40)} ends the session`, async (t) => {
      const w = await connected(t);
      w.send(packet);
      assert.equal(await w.closed(), 1005);
    });
  }

  test('by polling: 400, and the session is gone', async () => {
    for (const packet of ['42{}', '4abc', 'bAQID']) {
      const session = await echo.polling('/socket.io/');
      await session.post('40');
      await session.packets(2);
      assert.equal((await session.post(packet)).status, 400);
      const { status, text } = await session.get();
      assert.deepEqual([status, text], [400, '{"code":1,"message":"Session ID unknown"}']);
    }
  });

  for (const packet of ['42["message"]', '421["message-with-ack"]', '431[]', '41', '42/foo,["message"]', '42/nope,["message"]', '451-["message",{"_placeholder":true,"num":0}]']) {
    test(`${packet} before CONNECT ends the session`, async (t) => {
      const w = await open(t, patient);
      w.send(packet);
      if (packet.startsWith('45')) w.send(bytes(1)); // the packet is whole only then
      assert.equal(await w.closed(), 1005);
    });
  }
});

describe('attachments', () => {
  const two = `${hole(0)},${hole(1)}`;

  test('of an event', async (t) => {
    const w = await connected(t);
    w.send(`452-["message",${two}]`, bytes(1, 2, 3), bytes(4, 5, 6));
    assert.deepEqual(await w.take(3), [`452-["message-back",${two}]`, bytes(1, 2, 3), bytes(4, 5, 6)]);
  });

  test('of an ack', async (t) => {
    const w = await connected(t);
    w.send(`452-789["message-with-ack",${two}]`, bytes(1, 2, 3), bytes(4, 5, 6));
    assert.deepEqual(await w.take(3), [`462-789[${two}]`, bytes(1, 2, 3), bytes(4, 5, 6)]);
  });

  test('by polling, in several requests', async () => {
    const session = await echo.polling('/socket.io/');
    await session.post('40');
    await session.packets(2);
    await session.post(`452-["message",${two}]${SEPARATOR}bAQID`);
    await session.post('bBAUG');
    assert.deepEqual(await session.packets(3), [`452-["message-back",${two}]`, 'bAQID', 'bBAUG']);
  });

  test('sent as base64 over WebSocket, and wanted so', async (t) => {
    const w = await echo.websocket('/socket.io/', '&b64=1');
    t.after(() => w.ws.terminate());
    await w.connect();
    w.send(`451-["message",${hole(0)}]`, 'bAQID');
    assert.deepEqual(await w.take(2), [`451-["message-back",${hole(0)}]`, 'bAQID']);
  });

  test('deep inside, twice, out of order, never named, empty: as they came', async (t) => {
    const w = await connected(t);
    const args = `{"a":[${hole(2)},{"b":${hole(0)}}],"c":{"num":0,"_placeholder":true}}`;
    w.send(`453-["message",${args}]`, bytes(), bytes(1), bytes(2));
    assert.deepEqual(await w.take(4), [`453-["message-back",${args}]`, bytes(), bytes(1), bytes(2)]);
  });

  test('ten are taken', async (t) => {
    const w = await connected(t);
    const blobs = Array.from({ length: 10 }, (_, i) => bytes(i)), holes = blobs.map((_, i) => hole(i)).join();
    w.send(`4510-["message",${holes}]`, ...blobs);
    assert.deepEqual(await w.take(11), [`4510-["message-back",${holes}]`, ...blobs]);
  });

  test('none announced: whole at once', async (t) => {
    const w = await connected(t);
    w.send('450-["message",1]', '450-5["message-with-ack",1]');
    assert.deepEqual(await w.take(2), ['42["message-back",1]', '435[1]']);
    await assertLives(w);
  });

  test('pings may stand between them', async (t) => {
    const w = await connected(t);
    w.send(`451-["message",${hole(0)}]`, '3', '6', bytes(9));
    assert.deepEqual(await w.take(2), [`451-["message-back",${hole(0)}]`, bytes(9)]);
  });

  test('an ack with some for an id that nobody waits for', async (t) => {
    const w = await connected(t);
    w.send(`461-5[${hole(0)}]`, bytes(1));
    await assertLives(w);
  });

  const broken = {
    'bytes that nobody announced': [bytes(1)],
    'bytes too many': ['451-["message"]', bytes(1), bytes(2)],
    'text between them': [`452-["message",${two}]`, bytes(1), '42["message"]'],
    'a placeholder beyond the count': [`451-["message",${hole(1)}]`],
    'a negative one': [`451-["message",${hole(-1)}]`],
    'one that is a text': [`451-["message",${hole('"splice"')}]`],
    'one that is no integer': [`451-["message",${hole('0.0')}]`],
    'one beyond all numbers': [`451-["message",${hole('1e400')}]`],
    'one beyond all integers': [`451-["message",${hole('123456789012345678901')}]`],
    'one without a number': ['451-["message",{"_placeholder":true}]'],
    'more than four million bytes': [`455-["message"]`, ...Array(5).fill(Buffer.alloc(900000))],
  };
  for (const [what, messages] of Object.entries(broken)) {
    test(`${what}: the session ends`, async (t) => {
      const w = await connected(t);
      w.send(...messages);
      assert.equal(await w.closed(), 1005);
    });
  }

  test('a client that left in the middle leaves nothing behind', async (t) => {
    const w = await connected(t);
    w.send(`452-["message",${two}]`, bytes(1));
    await w.close(); // the leak check at the server's end looks
  });
});

test('upgraded from polling, a connection goes on', async (t) => {
  const session = await echo.polling('/socket.io/');
  await session.post('40');
  await session.packets(2);
  const w = await echo.websocket('/socket.io/', `&sid=${session.sid}`);
  t.after(() => w.ws.terminate());
  w.send('2probe');
  assert.equal(await w.next(), '3probe');
  await session.post(`451-["message",${hole(0)}]`); // one part each way
  w.send('5', bytes(7));
  assert.deepEqual(await w.take(2), [`451-["message-back",${hole(0)}]`, bytes(7)]);
});

test('the echo server is linked of the same protocol objects as the gateway', () => {
  const link = (program) => {
    const lines = execFileSync('make', ['-C', root, '--no-print-directory', '-n', '-B', 'V=1', 'SAN=1', `build/asan/${program}`], { encoding: 'utf8', maxBuffer: 1 << 26, env: { ...process.env, MAKEFLAGS: '' } });
    const line = lines.split('\n').find((l) => l.endsWith(`-o build/asan/${program}`));
    assert.ok(line, `${program} is linked`);
    return line.split(/\s+/).filter((word) => word.endsWith('.o'));
  };
  const gateway = link('parley-realtime'), own = link('sio-echo');
  for (const object of ['engineio', 'socketio']) {
    assert.ok(own.includes(`build/asan/realtime/${object}.o`), own.join(' '));
    assert.ok(gateway.includes(`build/asan/realtime/${object}.o`), gateway.join(' '));
  }
  assert.deepEqual(own.filter((o) => !gateway.includes(o)), ['build/asan/tests/echo/client_suite.o', 'build/asan/tests/echo/echo.o', 'build/asan/tests/echo/main.o']);
});
