"""Random requests, many in flight on one or more connections, against a model.

Replies may come in any order. A request is issued only if no request in flight
touches the same bytes (reads may overlap reads), so that what a read must
return is known when it is issued: what the last acknowledged write left there,
whichever connection that was on.

The environment says what to do: URI, BLOCK (all offsets and lengths are whole
blocks), CONNECTIONS, DEPTH (requests in flight in all), REQUESTS, SEED, and
MODEL, the file that gets the bytes that the disk must hold in the end. Prints
one line with what was done. Ends with status 1 and the reason on a mismatch.
"""

import os
import random
import select
import sys

import nbd

MAX_LENGTH = 256 * 1024

# What may overlap without making the outcome uncertain.
HARMLESS = ("read", "cache", "flush")


class Request:
    """One request in flight."""

    def __init__(self, kind, offset, length):
        self.kind = kind
        self.offset = offset
        self.length = length
        self.buffer = None
        self.expected = None
        self.comparable = None

    def end(self):
        return self.offset + self.length

    def conflicts(self, other):
        if self.kind in HARMLESS and other.kind in HARMLESS:
            return False
        return self.offset < other.end() and other.offset < self.end()

    def __str__(self):
        return f"{self.kind} of {self.length} bytes at {self.offset}"


class Model:
    """What the disk must hold. Bytes that were trimmed are not defined until
    they are written again."""

    def __init__(self, content):
        self.bytes = bytearray(content)
        self.undefined = bytearray(len(content))

    def write(self, offset, data):
        self.bytes[offset:offset + len(data)] = data
        self.undefined[offset:offset + len(data)] = bytes(len(data))

    def trim(self, offset, length):
        self.undefined[offset:offset + length] = b"\1" * length

    def snapshot(self, offset, length):
        undefined = self.undefined[offset:offset + length]
        if undefined.find(1) < 0:
            undefined = None
        return bytes(self.bytes[offset:offset + length]), undefined


class Tester:
    def __init__(self, uri, block, connections, depth, rng):
        self.block = block
        self.depth = depth
        self.rng = rng
        self.handles = []
        for _ in range(connections):
            h = nbd.NBD()
            h.connect_uri(uri)
            self.handles.append(h)
        self.size = self.handles[0].get_size()
        self.model = Model(self.handles[0].pread(self.size, 0))
        self.in_flight = []
        self.counts = {}
        self.overtakings = 0
        self.peak = 0
        self.failure = None

    def pick(self):
        kind = self.rng.choices(
            ["read", "write", "zero", "trim", "cache", "flush"],
            [40, 40, 8, 4, 4, 4])[0]
        if kind == "flush":
            return Request(kind, 0, 0)
        # Small and large lengths are about as frequent as each other.
        blocks = int(2 ** self.rng.uniform(0, (MAX_LENGTH // self.block).bit_length() - 1))
        length = max(1, blocks) * self.block
        offset = self.rng.randrange((self.size - length) // self.block + 1) * self.block
        return Request(kind, offset, length)

    def pick_free(self):
        """Returns a request that may be issued now, or None."""
        if len(self.in_flight) >= self.depth:
            return None
        for _ in range(8):
            r = self.pick()
            if not any(map(r.conflicts, self.in_flight)):
                return r
        return None

    def issue(self, r):
        h = self.rng.choice(self.handles)
        done = lambda error: self.complete(r, error)
        fua = nbd.CMD_FLAG_FUA if self.rng.random() < 0.1 else 0
        self.in_flight.append(r)
        self.peak = max(self.peak, len(self.in_flight))
        self.counts[r.kind] = self.counts.get(r.kind, 0) + 1
        if r.kind == "read":
            r.buffer = nbd.Buffer(r.length)
            r.expected, r.comparable = self.model.snapshot(r.offset, r.length)
            h.aio_pread(r.buffer, r.offset, done)
        elif r.kind == "write":
            data = self.rng.randbytes(r.length)
            r.buffer = nbd.Buffer.from_bytearray(bytearray(data))
            self.model.write(r.offset, data)
            h.aio_pwrite(r.buffer, r.offset, done, fua)
        elif r.kind == "zero":
            hole = nbd.CMD_FLAG_NO_HOLE if self.rng.random() < 0.5 else 0
            self.model.write(r.offset, bytes(r.length))
            h.aio_zero(r.length, r.offset, done, fua | hole)
        elif r.kind == "trim":
            self.model.trim(r.offset, r.length)
            h.aio_trim(r.length, r.offset, done, fua)
        elif r.kind == "cache":
            h.aio_cache(r.length, r.offset, done)
        else:
            h.aio_flush(done)

    def complete(self, r, error):
        """Is called by libnbd; 1 retires the command."""
        if self.in_flight.index(r) != 0:
            self.overtakings += 1
        self.in_flight.remove(r)
        if error.value != 0:
            self.failure = f"{r}: {os.strerror(error.value)}"
        elif r.kind == "read":
            self.compare(r)
        return 1

    def compare(self, r):
        got = bytes(r.buffer.to_bytearray())
        if r.comparable is None and got == r.expected:
            return
        for i in range(r.length):
            if got[i] != r.expected[i] and not (r.comparable and r.comparable[i]):
                self.failure = (f"{r}: byte {r.offset + i} is {got[i]:#x}, "
                                f"want {r.expected[i]:#x}")
                return

    def progress(self):
        """Waits for the sockets and lets libnbd read and write."""
        poll = select.poll()
        by_fd = {}
        for h in self.handles:
            direction = h.aio_get_direction()
            events = 0
            if direction & nbd.AIO_DIRECTION_READ:
                events |= select.POLLIN
            if direction & nbd.AIO_DIRECTION_WRITE:
                events |= select.POLLOUT
            by_fd[h.aio_get_fd()] = h
            poll.register(h.aio_get_fd(), events)
        ready = poll.poll(60_000)
        if not ready:
            sys.exit(f"no reply for a minute to: {'; '.join(map(str, self.in_flight))}")
        for fd, events in ready:
            h = by_fd[fd]
            direction = h.aio_get_direction()
            if events & (select.POLLIN | select.POLLHUP) and direction & nbd.AIO_DIRECTION_READ:
                h.aio_notify_read()
            elif events & select.POLLOUT and direction & nbd.AIO_DIRECTION_WRITE:
                h.aio_notify_write()
        if self.failure:
            sys.exit(self.failure)

    def run(self, requests):
        while requests > 0:
            r = self.pick_free()
            if r is None:
                self.progress()
                continue
            self.issue(r)
            requests -= 1
        while self.in_flight:
            self.progress()

    def finish(self, path):
        """Defines what is undefined, reads the disk once more on every
        connection and writes the model to path."""
        at = self.model.undefined.find(1)
        while at >= 0:
            end = self.model.undefined.find(0, at)
            end = self.size if end < 0 else end
            self.handles[0].zero(end - at, at)
            self.model.write(at, bytes(end - at))
            at = self.model.undefined.find(1, end)
        for h in self.handles:
            whole = Request("read", 0, self.size)
            whole.expected = bytes(self.model.bytes)
            whole.buffer = nbd.Buffer.from_bytearray(h.pread(self.size, 0))
            self.compare(whole)
            if self.failure:
                sys.exit(f"in the end: {self.failure}")
        self.handles[0].flush()
        for h in self.handles:
            h.shutdown()
        with open(path, "wb") as f:
            f.write(self.model.bytes)


def main():
    env = os.environ
    rng = random.Random(int(env["SEED"]))
    t = Tester(env["URI"], int(env["BLOCK"]), int(env["CONNECTIONS"]), int(env["DEPTH"]), rng)
    t.run(int(env["REQUESTS"]))
    t.finish(env["MODEL"])
    counts = ", ".join(f"{n} {kind}" for kind, n in sorted(t.counts.items()))
    print(f"{counts}; up to {t.peak} in flight, {t.overtakings} replies overtook another")


main()
