// echo.mjs: the echo server as a process of its own, and bare clients for it: HTTP requests, a polling session, a WebSocket.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { root } from '../lib/stack.mjs';

const BIN = process.env.PARLEY_BIN ?? join(root, 'build', 'asan');
const PATIENCE = 15000; // for what must happen, on a slow machine

/** Settings under which nothing happens because of time. */
export const CALM = { 'ping-interval': 60000, 'ping-timeout': 60000 };

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Settles as the promise does, or fails after a while. */
export function soon(promise, what, ms = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Echo {
  /** options: --profile and the ping settings. */
  static async start(options = {}) {
    const e = new Echo();
    e.port = await freePort();
    e.url = `http://127.0.0.1:${e.port}`;
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    e.process = spawn(join(BIN, 'sio-echo'), ['--port', String(e.port), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    e.said = '';
    e.process.stderr.on('data', (d) => { e.said += d; });
    e.ended = once(e.process, 'exit');
    const [line] = await soon(Promise.race([once(e.process.stdout, 'data'), e.ended.then(() => ['it ended'])]), 'the start of sio-echo');
    e.line = String(line);
    if (!e.line.startsWith('listening')) throw new Error(`sio-echo does not start: ${e.line} ${e.said}`);
    return e;
  }

  /** SIGTERM; it must end well: nothing leaked, nothing said. */
  async stop() {
    if (this.process.exitCode === null) this.process.kill('SIGTERM');
    const [code, signal] = await soon(this.ended, 'the end of sio-echo');
    if (code !== 0 || this.said !== '') throw new Error(`sio-echo ended with ${code ?? signal}: ${this.said}`);
  }

  /** One request on a connection of its own: {status, headers, text}. `hold(request)` gets the request, to abort it. */
  request(path, { method = 'GET', body, headers = {}, agent = false, hold } = {}) {
    return soon(new Promise((resolve, reject) => {
      const request = http.request(`${this.url}${path}`, { method, headers, agent }, (response) => {
        const parts = [];
        response.on('data', (d) => parts.push(d));
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(parts).toString() }));
        response.on('error', reject);
      });
      request.on('error', reject);
      hold?.(request);
      request.end(body);
    }), `${method} ${path}`);
  }

  async polling(path = '/engine.io/', query = '') {
    const { status, text } = await this.request(`${path}?EIO=4&transport=polling${query}`);
    if (status !== 200 || text[0] !== '0') throw new Error(`no session: ${status} ${text}`);
    return new Polling(this, path, JSON.parse(text.slice(1)));
  }

  /** A WebSocket that is open; its first message is kept in `opened` unless a session is given by its sid. */
  async websocket(path = '/engine.io/', query = '', options = {}) {
    const w = new Wire(`${this.url.replace('http', 'ws')}${path}?EIO=4&transport=websocket${query}`, options);
    await w.open();
    if (!query.includes('sid=')) w.opened = await w.next();
    return w;
  }

  /** A WebSocket on which a Socket.IO namespace is connected. */
  async connected(nsp = '') {
    const w = await this.websocket('/socket.io/');
    await w.connect(nsp);
    return w;
  }
}

class Polling {
  constructor(echo, path, opened) {
    Object.assign(this, { echo, opened, sid: opened.sid, at: `${path}?EIO=4&transport=polling&sid=${opened.sid}` });
  }

  get(options) {
    return this.echo.request(this.at, options);
  }

  post(body, options = {}) {
    return this.echo.request(this.at, { method: 'POST', body, ...options });
  }

  /** A GET that is known to wait at the server: answered only later. Its connection's requests are read in order, so one behind it is not. */
  async held() {
    let request;
    const answer = this.get({ hold: (r) => { request = r; } });
    answer.catch(() => {});
    await soon(once(request, 'finish'), 'a GET on its way');
    await this.echo.request('/livez'); // and read: the server's one thread has been round since
    return { answer, abort: () => request.destroy() };
  }

  /** All packets of polls until there are n. */
  async packets(n) {
    const all = [];
    while (all.length < n) {
      const { status, text } = await this.get();
      if (status !== 200) throw new Error(`poll: ${status} ${text}`);
      all.push(...text.split('\x1e').filter((p) => p !== '6'));
    }
    return all;
  }
}

/** A WebSocket with a memory. Pings of Engine.IO are answered and not shown unless `pong: false`. */
export class Wire {
  constructor(url, { pong = true, ...options } = {}) {
    this.inbox = [];
    this.waiting = [];
    this.ws = new WebSocket(url, options);
    this.ended = new Promise((resolve) => this.ws.on('close', (code) => resolve(code)));
    this.ended.then(() => this.waiting.splice(0).forEach((w) => w.reject(new Error('the WebSocket was closed'))));
    this.ws.on('message', (data, binary) => {
      const message = binary ? data : String(data);
      if (pong && message === '2') return this.ws.send('3');
      if (this.waiting.length > 0) this.waiting.shift().resolve(message);
      else this.inbox.push(message);
    });
  }

  /** Resolves when open; an answer that refuses rejects with {status, text}. */
  open() {
    return soon(new Promise((resolve, reject) => {
      this.ws.once('open', resolve);
      this.ws.on('error', reject);
      this.ws.once('unexpected-response', (_, response) => {
        let text = '';
        response.on('data', (d) => { text += d; }).on('end', () => reject(Object.assign(new Error(`refused: ${response.statusCode} ${text}`), { status: response.statusCode, text, headers: response.headers })));
      });
    }), 'a WebSocket');
  }

  send(...messages) {
    for (const m of messages) this.ws.send(m);
  }

  next() {
    if (this.inbox.length > 0) return Promise.resolve(this.inbox.shift());
    return soon(new Promise((resolve, reject) => this.waiting.push({ resolve, reject })), 'a message');
  }

  async take(n) {
    const all = [];
    for (let i = 0; i < n; i++) all.push(await this.next());
    return all;
  }

  /** The close code. */
  closed() {
    return soon(this.ended, 'the end of a WebSocket');
  }

  close() {
    this.ws.close();
    return this.closed();
  }

  /** CONNECT to a namespace ("" or "/name,") and its two answers: {sid, auth}. */
  async connect(nsp = '', auth = '') {
    this.send(`40${nsp}${auth}`);
    const [reply, event] = await this.take(2);
    if (!reply.startsWith(`40${nsp}{`) || !event.startsWith(`42${nsp}["auth",`)) throw new Error(`no connection: ${reply} ${event}`);
    return { ...JSON.parse(reply.slice(2 + nsp.length)), reply, event };
  }
}

export { root };
