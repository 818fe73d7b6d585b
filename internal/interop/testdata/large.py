"""One request as large as every server must take it (32 MiB, the payload that
proto.md tells servers to expect), and one that clears a whole disk.

The environment: URI, of a disk of at least 33 MiB.
"""

import os
import sys

import nbd

LARGE = 32 * 1024 * 1024

h = nbd.NBD()
h.connect_uri(os.environ["URI"])
data = os.urandom(LARGE)
offset = 1024 * 1024 - 4096
h.pwrite(data, offset)
if bytes(h.pread(LARGE, offset)) != data:
    sys.exit("a read of 32 MiB returned something else than was written")
h.zero(h.get_size(), 0)
if bytes(h.pread(LARGE, offset)) != bytes(LARGE):
    sys.exit("bytes are left after all was zeroed")
h.flush()
h.shutdown()
