# Exercises what a client can negotiate, with STRUCTURED=1 and without, and what
# it then gets. URI is an export of SIZE bytes, all hole; BLOCK its minimum block.
import errno
import os
import nbd

URI, SIZE, BLOCK = os.environ["URI"], int(os.environ["SIZE"]), int(os.environ["BLOCK"])
STRUCTURED = os.environ["STRUCTURED"] == "1"
FAST = os.environ["FAST"] == "1"  # zeroes are written fast
ASKED = os.environ.get("ASKED", "1") == "1"  # the client asks for block sizes
MiB = 1 << 20


def connect():
    h = nbd.NBD()
    h.set_request_structured_replies(STRUCTURED)
    h.set_request_block_size(ASKED)
    h.set_strict_mode(0)  # the server is to refuse, not the library
    if STRUCTURED:
        h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    h.connect_uri(URI)
    assert h.get_structured_replies_negotiated() == STRUCTURED
    assert h.can_df() == STRUCTURED
    assert h.can_fast_zero() == FAST
    return h


def fails(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except nbd.Error as e:
        assert e.errnum == code, (e, errno.errorcode[code])
        return
    raise AssertionError("this has to fail with " + errno.errorcode[code])


def status(h, count, offset, flags=0):
    found = []

    def extent(context, at, entries, err):
        assert context == nbd.CONTEXT_BASE_ALLOCATION and at == offset and not err.value
        found.extend(zip(entries[::2], entries[1::2]))

    h.block_status(count, offset, extent, flags)
    return found


def chunks(h, count, offset, flags=0):
    """The chunks of a read, as (offset, length, is data)."""
    found = []

    def chunk(data, at, kind, err):
        assert kind != nbd.READ_ERROR
        found.append((at, len(data), kind == nbd.READ_DATA))

    h.pread_structured(count, offset, chunk, flags)
    return sorted(found)


h = connect()
data = bytes(range(1, 256)) * (MiB // 255 + 1)
h.pwrite(data[:MiB], MiB)
assert h.pread(3 * MiB, 0) == bytes(MiB) + data[:MiB] + bytes(MiB)
if STRUCTURED:
    hole = nbd.STATE_HOLE | nbd.STATE_ZERO
    assert status(h, SIZE, 0)[:2] == [(MiB, hole), (MiB, 0)], status(h, SIZE, 0)
    assert status(h, MiB + BLOCK, 0, nbd.CMD_FLAG_REQ_ONE) == [(MiB, hole)]
    assert status(h, BLOCK, MiB, nbd.CMD_FLAG_REQ_ONE) == [(BLOCK, 0)]
    assert chunks(h, 3 * MiB, 0) == [(0, MiB, False), (MiB, MiB, True), (2 * MiB, MiB, False)], chunks(h, 3 * MiB, 0)
    assert chunks(h, 3 * MiB, 0, nbd.CMD_FLAG_DF) == [(0, 3 * MiB, True)]
    fails(errno.EINVAL, status, h, BLOCK, SIZE)
else:
    fails(errno.EINVAL, h.pread, BLOCK, 0, flags=nbd.CMD_FLAG_DF)

# Zeroes: kept, given back, fast.
h.zero(MiB // 2, MiB, nbd.CMD_FLAG_NO_HOLE)
assert h.pread(MiB, MiB) == bytes(MiB // 2) + data[MiB // 2:MiB]
h.pwrite(data[:MiB], MiB)
if FAST:
    h.zero(MiB, MiB, nbd.CMD_FLAG_FAST_ZERO)
    assert h.pread(MiB, MiB) == bytes(MiB)
else:
    fails(errno.EINVAL, h.zero, MiB, MiB, nbd.CMD_FLAG_FAST_ZERO)
h.pwrite(data[:MiB], MiB, nbd.CMD_FLAG_FUA)
h.trim(MiB, MiB, nbd.CMD_FLAG_FUA)
if STRUCTURED:
    assert status(h, 3 * MiB, 0, nbd.CMD_FLAG_REQ_ONE) == [(3 * MiB, hole)]
h.cache(MiB, 0)
h.flush()

# What is refused, and that the connection survives it.
fails(errno.EINVAL, h.pread, BLOCK, SIZE)
fails(errno.ENOSPC, h.pwrite, bytes(BLOCK), SIZE)
fails(errno.ENOSPC, h.zero, 2 * BLOCK, SIZE - BLOCK)
fails(errno.EINVAL, h.trim, 2 * BLOCK, SIZE - BLOCK)
if ASKED:
    fails(errno.EINVAL, h.pread, 3, 5)
    fails(errno.EINVAL, h.pwrite, b"abc", 5)
else:
    h.pwrite(data[:MiB], 0)
    h.pwrite(b"abc", 5)
    h.zero(7, 4090)
    want = bytearray(data[:MiB])
    want[5:8], want[4090:4097] = b"abc", bytes(7)
    assert h.pread(MiB, 0) == want
    assert h.pread(100, 4050) == want[4050:4150]
    h.trim(2 * BLOCK, BLOCK // 2)
    assert h.pread(BLOCK, 0)[:BLOCK // 2] == want[:BLOCK // 2]
assert len(h.pread(BLOCK, SIZE - BLOCK)) == BLOCK
h.shutdown()
