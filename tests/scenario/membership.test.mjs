// The edge of membership: whoever was removed hears nothing that was said afterwards, however the removal races with joining and connecting.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { closeAll, connect, dial, texts } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

let stack, app, urls;
before(async () => {
  stack = await Stack.start({ gateways: 2 });
  urls = stack.endpoints.realtime;
  app = await stack.app('Membership', { limits: { sends_per_user: 1000, sends_per_conversation: 1000 } });
  await Promise.all(['owner', 'ann', 'ben', 'cem', 'dia'].map((id) => app.user(id)));
});
afterEach(closeAll);
after(async () => {
  closeAll();
  await stack?.stop();
});

const at = async (n, user, options) => connect(urls[n - 1], await app.token(user), options);
const ok = (ack) => (assert.equal(ack.ok, true, JSON.stringify(ack)), ack);
const secret = async (owner, id) => ok(await owner.send('message.send', { conversation_id: id, text: `secret of ${id}` })).message;
const heard = (c, id) => texts(c, id).includes(`secret of ${id}`);

/** Nobody of `removed` hears what is said now, reads it in history, or is offered it by sync. */
async function assertSecret(owner, removed, id) {
  const said = await secret(owner, id);
  await owner.wait('message.new', (m) => m.id === said.id);
  for (const c of removed) {
    const [history, sync] = await Promise.all([c.send('history.get', { conversation_id: id }), c.send('sync', { conversations: { [id]: 0 } })]);
    assert.ok(!JSON.stringify([history, sync]).includes('secret of'), 'read by who is no member');
    assert.ok(!heard(c, id), 'heard by who is no member');
  }
}

describe('somebody who is removed', () => {
  test('while the reading that would seat him is under way stays outside, on both gateways', async () => {
    const [owner, here, there] = [await at(1, 'owner'), await at(1, 'ann'), await at(2, 'ben')];
    const groups = [];
    for (let i = 0; i < 25; i++) {
      const { group } = ok(await owner.send('group.create', { client_id: `race-${i}`, name: 'Race', member_ids: [] }));
      await sleep(30); // the owner sits there
      const acks = await Promise.all([owner.send('member.add', { conversation_id: group.id, user_ids: ['ann', 'ben'] }),
        owner.send('member.remove', { conversation_id: group.id, user_id: 'ann' }), owner.send('member.remove', { conversation_id: group.id, user_id: 'ben' })]);
      acks.forEach(ok);
      groups.push(group.id);
    }
    await sleep(1000);
    for (const id of groups) await assertSecret(owner, [here, there], id);
  });

  test('while many others are being seated stays outside', async () => {
    const crowd = Array.from({ length: 120 }, (_, i) => `crowd-${i}`);
    await Promise.all(crowd.map((id) => app.user(id)));
    const owner = await at(1, 'owner');
    const clients = await Promise.all(crowd.map((id) => at(1, id, { transports: ['websocket'] })));
    for (let round = 0; round < 5; round++) {
      const { group } = ok(await owner.send('group.create', { client_id: `crowd-${round}`, name: 'Crowd', member_ids: [] }));
      const added = owner.send('member.add', { conversation_id: group.id, user_ids: crowd });
      await sleep(5 + 12 * round);
      ok(await owner.send('member.remove', { conversation_id: group.id, user_id: 'crowd-0' }));
      ok(await added);
      await Promise.all(clients.slice(1).map((c) => c.wait('conversation.added', (x) => x.conversation.id === group.id, 15000)));
      await sleep(300);
      await assertSecret(owner, [clients[0]], group.id);
      await until(() => clients.slice(1).every((c) => heard(c, group.id)), { what: 'the others hear it' });
    }
  });

  test('while he connects stays outside', async () => {
    const owner = await at(1, 'owner');
    for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 20 }, () => app.group(['owner', 'cem']))); // makes the reading long
    const token = await app.token('cem');
    for (let round = 0; round < 25; round++) {
      const { group } = ok(await owner.send('group.create', { client_id: `connecting-${round}`, name: 'Connecting', member_ids: ['cem'] }));
      await owner.wait('conversation.added', (x) => x.conversation.id === group.id);
      const c = dial(urls[0], { token, device_id: `phone-${round}` }, { transports: ['websocket'] });
      await sleep(4 + 2 * round);
      ok(await owner.send('member.remove', { conversation_id: group.id, user_id: 'cem' }));
      await c.wait('session.ready', () => true, 10000);
      await sleep(300);
      await assertSecret(owner, [c], group.id);
      await c.close();
    }
  });

  test('and added again while he still catches up is told both', async () => {
    const owner = await at(1, 'owner');
    const { id } = ok(await owner.send('group.create', { client_id: 'catching-up', name: 'Catching up', member_ids: ['dia'] })).group;
    for (let i = 0; i < 500; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, n) => app.api('POST', `/v1/conversations/${id}/messages`, { sender_id: 'owner', text: String(i + n) })));
    }
    const d = await connect(urls[0], { token: await app.token('dia'), device_id: 'slow' }, { acks: false });
    await until(() => texts(d, id).length >= 100, { what: 'the first page' });
    const left = ok(await owner.send('member.remove', { conversation_id: id, user_id: 'dia' }));
    await d.wait('conversation.removed', (x) => x.conversation_id === id);
    const back = ok(await owner.send('member.add', { conversation_id: id, user_ids: ['dia'] }));
    await d.wait('conversation.added', (x) => x.conversation.id === id);
    const said = await secret(owner, id);
    await d.wait('message.new', (m) => m.id === said.id, 15000);
    const seqs = d.events.filter((e) => e.data?.conversation_id === id && e.data.seq).map((e) => e.data.seq);
    assert.deepEqual(seqs, [...new Set(seqs)].sort((x, y) => x - y), 'ascending, each once');
    assert.ok(seqs.every((seq) => seq <= left.seq || seq >= back.seq));
  });
});
