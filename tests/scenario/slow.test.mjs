// Slow consumers: what is queued for a client that does not read stays within its budget, hurts nobody else, and is there again when the client comes back.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { closeAll, connect, texts } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

const BUDGET = 262144;
const LONG = 16000;
const SLOW = ['s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7'];

let stack, app, url;
before(async () => {
  stack = await Stack.start({ env: { PARLEY_SEND_STALL_MS: '1500', PARLEY_PING_INTERVAL_MS: '60000' } });
  url = stack.endpoints.realtime[0];
  app = await stack.app('Slow', { limits: { sends_per_user: 1000, sends_per_conversation: 1000 } });
  for (const id of ['alice', 'bob', ...SLOW]) await app.user(id);
});
afterEach(closeAll);
after(async () => {
  closeAll();
  await stack?.stop();
});

const at = async (user, options) => connect(url, { token: await app.token(user), device_id: 'd' }, { transports: ['websocket'], ...options });
const reading = (c) => c.socket.io.engine.transport.ws._socket;
const queued = () => stack.metric('parley_send_queue_bytes');
const cuts = () => stack.metric('parley_slow_consumers_total');
const long = (i) => `${i} `.padEnd(LONG, 'x');
const numbers = (c, group) => texts(c, group).map((t) => parseInt(t, 10));
const upTo = (n) => Array.from({ length: n }, (_, i) => i);

async function send(c, group, from, to) {
  for (let i = from; i < to; i++) assert.equal((await c.send('message.send', { conversation_id: group, text: long(i) })).ok, true);
}

describe('clients that stop reading', () => {
  test('are cut at their budget, and come back to all they missed; others notice nothing', async () => {
    const group = await app.group(['alice', 'bob', ...SLOW]);
    const alice = await at('alice');
    const bob = await at('bob');
    const slow = await Promise.all(SLOW.map((id) => at(id)));
    const [before_, begun] = [await cuts(), performance.now()];
    slow.forEach((c) => reading(c).pause());
    let most = 0, sent = 0;
    while ((await cuts()) - before_ < SLOW.length) {
      assert.ok(sent < 400 && performance.now() - begun < 20000, `${(await cuts()) - before_} of ${SLOW.length} are cut after ${sent} long messages`);
      await send(alice, group.id, sent, sent + 5);
      sent += 5;
      most = Math.max(most, await queued());
    }
    assert.ok(most > 0 && most <= SLOW.length * (BUDGET + 2 * LONG), `${most} bytes queued for ${SLOW.length} clients`);
    await until(async () => (await queued()) === 0, { what: 'nothing queued any more' });
    assert.deepEqual(numbers(bob, group.id), upTo(sent));
    assert.equal(bob.of('disconnect').length + alice.of('disconnect').length, 0);
    assert.ok((await stack.metric('parley_disconnects_total', undefined, 'slow consumer')) >= SLOW.length, 'the reason is told');
    slow.forEach((c) => reading(c).resume());
    await Promise.all(slow.map((c) => c.wait('disconnect', (reason) => reason === 'transport close' || reason === 'transport error')));
    const back = await Promise.all(SLOW.map((id) => at(id)));
    for (const [i, c] of back.entries()) {
      // What had been read before the cut counts as delivered.
      const had = numbers(slow[i], group.id);
      await until(() => texts(c, group.id).length > 0 && numbers(c, group.id).at(-1) === sent - 1, { timeout: 15000, what: 'the rest' });
      assert.deepEqual([...new Set([...had, ...numbers(c, group.id)])].sort((x, y) => x - y), upTo(sent));
    }
  });

  test('get what is durable first: what is volatile is not queued at all', async () => {
    const group = await app.group(['alice', 's0']);
    const alice = await at('alice');
    const c = await at('s0');
    reading(c).pause();
    let sent = 0;
    while ((await queued()) === 0) {
      assert.ok(sent < 200);
      await send(alice, group.id, sent, sent + 1);
      sent++;
    }
    const before_ = await queued();
    for (let i = 0; i < 100; i++) alice.socket.emit('typing.set', { conversation_id: group.id, on: i % 2 === 0 });
    await alice.send('server.ping', { t: 1 });
    assert.equal(await queued(), before_);
    reading(c).resume();
    await until(() => texts(c, group.id).length === sent, { what: 'all messages' });
    assert.deepEqual(numbers(c, group.id), upTo(sent));
    assert.equal(c.of('typing.updated').length, 0);
    alice.socket.emit('typing.set', { conversation_id: group.id, on: true });
    await c.wait('typing.updated');
  });

  test('and ask for much get it answer by answer, when they read again', async () => {
    const group = await app.group(['alice', 's1']);
    const alice = await at('alice');
    await send(alice, group.id, 0, 12);
    const c = await at('s1');
    await until(() => texts(c, group.id).length === 12, { what: 'what was pending' });
    const before_ = await cuts();
    reading(c).pause();
    const asked = Array.from({ length: 40 }, () => c.send('history.get', { conversation_id: group.id, limit: 200 }, 20000).catch((e) => ({ ok: false, error: { code: e.message } })));
    await until(async () => (await queued()) > 0, { what: 'answers that wait' });
    await sleep(300);
    assert.ok((await queued()) <= 2 * BUDGET);
    reading(c).resume();
    const answers = await Promise.all(asked);
    assert.equal(await cuts(), before_);
    assert.deepEqual(answers.filter((a) => !a.ok).map((a) => a.error.code), []);
  });
});

test('a polling client that polls no more is cut once what waits for it has waited too long', async () => {
  const group = await app.group(['alice', 's2']);
  const alice = await at('alice');
  const base = `${url}/socket.io/?EIO=4&transport=polling`;
  const sid = JSON.parse((await (await fetch(base)).text()).slice(1)).sid;
  const poll = async () => (await fetch(`${base}&sid=${sid}`)).text();
  await fetch(`${base}&sid=${sid}`, { method: 'POST', body: `40${JSON.stringify({ token: await app.token('s2'), device_id: 'd' })}` });
  while (!(await poll()).includes('session.ready'));
  const before_ = await cuts();
  await until(async () => {
    await alice.send('message.send', { conversation_id: group.id, text: 'short: the budget is far' });
    return (await cuts()) === before_ + 1;
  }, { timeout: 10000, every: 200, what: 'the cut' });
  assert.deepEqual(JSON.parse(await poll()), { code: 1, message: 'Session ID unknown' });
});
