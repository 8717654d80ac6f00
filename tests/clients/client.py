#!/usr/bin/python3
"""A python-socketio client that obeys lines of JSON on stdin and tells what happens to it in lines of JSON on stdout.

client.py threads|asyncio URL TRANSPORTS AUTH     TRANSPORTS and AUTH as JSON

stdin:  {"emit": name, "args": [...], "id": n}    with an id it asks for an ack
        {"disconnect": true}
stdout: {"name": event, "args": [...]}            "connect", "disconnect" and "connect_error" included
        {"ack": n, "args": [...]}
        {"transport": name}                       once connected, when it is settled
Binary is {"$binary": base64} in both directions.
"""
import asyncio
import base64
import json
import sys
import threading

import socketio

writing = threading.Lock()


def from_json(value):
    if isinstance(value, dict):
        if set(value) == {"$binary"}:
            return base64.b64decode(value["$binary"])
        return {k: from_json(v) for k, v in value.items()}
    return [from_json(v) for v in value] if isinstance(value, list) else value


def to_json(value):
    if isinstance(value, (bytes, bytearray)):
        return {"$binary": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {k: to_json(v) for k, v in value.items()}
    return [to_json(v) for v in value] if isinstance(value, (list, tuple)) else value


def tell(**what):
    with writing:
        print(json.dumps(to_json(what)), flush=True)


def listen(sio):
    sio.on("connect", lambda: tell(name="connect", args=[]))
    sio.on("disconnect", lambda: tell(name="disconnect", args=[]))
    sio.on("connect_error", lambda *args: tell(name="connect_error", args=args))
    sio.on("*", lambda name, *args: tell(name=name, args=args))


def order(line):
    """A line of stdin as (event, arguments, callback), or None for the end."""
    what = json.loads(line)
    if "emit" not in what:
        return None
    callback = (lambda *args: tell(ack=what["id"], args=args)) if "id" in what else None
    return what["emit"], tuple(from_json(what["args"])), callback


def with_threads(url, transports, auth):
    sio = socketio.Client(reconnection=False)
    listen(sio)
    sio.connect(url, auth=auth, transports=transports, wait=False)
    tell(transport=sio.transport())
    for line in sys.stdin:
        what = order(line)
        if what is None:
            break
        sio.emit(what[0], what[1], callback=what[2])
    sio.disconnect()
    sio.wait()


async def with_asyncio(url, transports, auth):
    sio = socketio.AsyncClient(reconnection=False)
    listen(sio)
    await sio.connect(url, auth=auth, transports=transports, wait=False)
    tell(transport=sio.transport())
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        what = order(line) if line else None
        if what is None:
            break
        await sio.emit(what[0], what[1], callback=what[2])
    await sio.disconnect()
    await sio.wait()


if __name__ == "__main__":
    kind, url, transports, auth = sys.argv[1:]
    arguments = (url, json.loads(transports), json.loads(auth))
    try:
        if kind == "asyncio":
            asyncio.run(with_asyncio(*arguments))
        else:
            with_threads(*arguments)
    except socketio.exceptions.ConnectionError as e:
        tell(failed=str(e))
        sys.exit(1)
