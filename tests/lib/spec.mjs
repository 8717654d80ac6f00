// spec.mjs: the tables of the sources as data, and what an error must look like. Suites are generated from them, so that no route and no event is forgotten.
import assert from 'node:assert/strict';
import { createHmac, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { parse } from 'yaml';
import { root } from './stack.mjs';

const source = (path) => readFileSync(join(root, path), 'utf8');

/** The rows of api/routes.h: {operation, method, path, listener, auth, scope, rate, feature}. */
export function routes() {
  const row = /^\s*R\("([\w.]+)",\s*(\w+),\s*"([^"]+)",\s*(\w+),\s*(\w+),\s*(\w+),\s*(\w+),\s*(\w+),\s*\w+\)/gm;
  return [...source('api/routes.h').matchAll(row)].map(([, operation, method, path, listener, auth, scope, rate, feature]) =>
    ({ operation, method, path, listener, auth, scope: scope === 'NONE' ? null : scope.toLowerCase().replace('_', ':'), rate, feature }));
}

/** The rows of realtime/events.h: {name, dir, where, ack}. */
export function events() {
  const text = source('realtime/events.h');
  const ins = [...text.matchAll(/^\s*IN\(\s*\w+,\s*"([\w.]+)",\s*(\w+),\s*(\w+),\s*(\w+),\s*(\w+)/gm)]
    .map(([, name, where, , , ack]) => ({ name, dir: 'in', where, ack: ack === 'ACK' }));
  return ins.concat([...text.matchAll(/^\s*OUT\(\s*\w+,\s*"([\w.]+)",\s*(\w+)/gm)].map(([, name, where]) => ({ name, dir: 'out', where })));
}

/** openapi/rest.yaml, and its operations by operationId. */
export const restDocument = () => parse(source('openapi/rest.yaml'));

/** The wire names of core/err.h with their HTTP status, title and whether a retry helps. */
export function errorCodes() {
  const rows = source('core/err.h').matchAll(/^\s*E\(\w+,\s*(\d+),\s*"(\w+)",\s*(true|false),\s*"([^"]+)"\)/gm);
  return Object.fromEntries([...rows].map(([, status, code, retryable, title]) => [code, { status: Number(status), retryable: retryable === 'true', title }]).reverse());
}

const codes = errorCodes();

/** Asserts that an answer is the problem `code`, in its whole form; `pointer` is one of errors[]. */
export function assertProblem(r, code, { pointer, instance, status = codes[code]?.status } = {}) {
  const what = `expected ${status} ${code} ${pointer ?? ''}, got ${r.status} ${r.text}`;
  assert.equal(r.status, status, what);
  assert.equal(r.body?.code, code, what);
  assert.equal(r.headers.get('content-type'), 'application/problem+json', what);
  assert.equal(r.body.status, r.status);
  assert.equal(r.body.title, codes[code].title, 'the title never varies');
  assert.equal(r.body.retryable, codes[code].retryable);
  assert.equal(typeof r.body.detail, 'string');
  assert.ok(r.body.detail.length > 0);
  assert.match(r.body.type, status === 429 ? /^https:\/\/iana\.org\/assignments\/http-problem-types#quota-exceeded$/ : new RegExp(`/errors/${code}$`));
  assert.equal(r.body.request_id, r.headers.get('x-request-id'));
  assert.equal(typeof r.body.instance, 'string');
  if (instance) assert.equal(r.body.instance, instance);
  if (pointer !== undefined) {
    const found = r.body.errors?.find((one) => one.pointer === pointer);
    assert.ok(found, what);
    assert.equal(typeof found.code, 'string');
    assert.equal(typeof found.detail, 'string');
  }
  assert.doesNotMatch(r.text, /select |insert into|\.c:\d|PGRES|stack/i, 'no internals');
  return r;
}

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A JWT made here. key: {alg, kid, secret} or {alg, kid, privateKey}; `header` and `claims` are taken as they are. */
export function jwt(key, claims, header = {}) {
  const head = { alg: key.alg, typ: 'JWT', kid: key.kid, ...header };
  const signed = `${base64url(head)}.${base64url(claims)}`;
  const bytes = Buffer.from(signed);
  let mac;
  if (key.alg === 'HS256') mac = createHmac('sha256', key.secret).update(bytes).digest();
  else if (key.alg === 'ES256') mac = sign('sha256', bytes, { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  else if (key.alg === 'RS256') mac = sign('sha256', bytes, key.privateKey);
  else mac = Buffer.alloc(0);
  return `${signed}.${mac.toString('base64url')}`;
}

export const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
export const headerOf = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url'));

/** One request by node:http, which sends what fetch() would refuse or tidy up: the path as it is, any header, any length. */
export function send(base, { method = 'GET', path, headers = {}, body, timeout = 10000 }) {
  return new Promise((resolve, reject) => {
    const url = new URL(base);
    const request = http.request({ host: url.hostname, port: url.port, method, path, headers, timeout, agent: false }, (response) => {
      const parts = [];
      response.on('data', (d) => parts.push(d));
      response.on('end', () => {
        const text = Buffer.concat(parts).toString();
        let parsed;
        try { parsed = JSON.parse(text); } catch { parsed = undefined; }
        resolve({ status: response.statusCode, headers: new Headers(Object.entries(response.headers).map(([k, v]) => [k, String(v)])), text, body: parsed });
      });
    });
    request.on('timeout', () => request.destroy(new Error('no answer in time')));
    request.on('error', reject);
    request.end(body);
  });
}

/** Bytes to a port and all that comes back until the peer closes or the time is over. */
export function exchange(base, bytes, timeout = 3000) {
  return new Promise((resolve, reject) => {
    const url = new URL(base);
    let text = '';
    const socket = net.connect(Number(url.port), url.hostname, () => socket.write(bytes));
    const end = () => { socket.destroy(); resolve(text); };
    socket.setTimeout(timeout, end).on('data', (d) => { text += d; }).on('end', end).on('error', (e) => (text ? end() : reject(e)));
  });
}
