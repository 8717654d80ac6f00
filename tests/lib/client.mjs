// client.mjs: the official Socket.IO client with a memory: every event is kept, and tests wait for the one they want.
import { io } from 'socket.io-client';
import { until } from './stack.mjs';

const open = new Set();

/** Connects and waits for session.ready. `auth` may be a token or the whole auth object. */
export async function connect(url, auth, options = {}) {
  const c = dial(url, auth, options);
  await c.wait('session.ready', () => true, options.timeout ?? 10000);
  return c;
}

/** Connects without waiting: for refusals and reconnects. `acks`: true answers what asks for an ack, false does not, a function gets the answer to give.
 * `client`: the io() of another version. */
export function dial(url, auth, options = {}) {
  const { namespace = '/', client = io, ...rest } = options;
  const socket = client(url + (namespace === '/' ? '' : namespace), { auth: typeof auth === 'string' ? { token: auth } : auth, forceNew: true, reconnection: false, ...rest });
  const c = { socket, events: [], acks: options.acks ?? true };
  open.add(socket);
  socket.onAny((name, ...args) => {
    const ack = typeof args.at(-1) === 'function' ? args.pop() : undefined;
    c.events.push({ name, data: args[0], at: performance.now() });
    if (ack && c.acks) c.acks === true ? ack() : c.acks(ack);
  });
  socket.on('connect_error', (e) => c.events.push({ name: 'connect_error', data: e.data, message: e.message, at: performance.now() }));
  socket.on('disconnect', (reason) => c.events.push({ name: 'disconnect', data: reason, at: performance.now() }));
  c.of = (name) => c.events.filter((e) => e.name === name).map((e) => e.data);
  c.wait = async (name, match = () => true, timeout = 5000) =>
    (await until(() => c.events.find((e) => e.name === name && match(e.data, e)), { timeout, what: () => `event ${name} (seen: ${c.events.map((e) => e.name).join(' ')})` })).data;
  c.send = (event, payload, timeout = 10000) => (socket.emitWithAck ? socket.timeout(timeout).emitWithAck(event, payload) : sendByHand(socket, event, payload, timeout));
  c.ready = () => c.of('session.ready').at(-1);
  c.close = async () => {
    socket.disconnect();
    open.delete(socket);
  };
  return c;
}

// What clients before 4.6 lack.
const sendByHand = (socket, event, payload, timeout) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error('operation has timed out')), timeout);
  socket.emit(event, payload, (answer) => {
    clearTimeout(timer);
    resolve(answer);
  });
});

/** Message texts in the order of arrival. */
export const texts = (c, conversation) => c.of('message.new').filter((m) => !conversation || m.conversation_id === conversation).map((m) => m.text);

/** Ends what a test left open, so that the runner can end. */
export function closeAll() {
  for (const s of open) s.disconnect();
  open.clear();
}
