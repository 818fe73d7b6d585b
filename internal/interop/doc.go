// Package interop holds tests that run the real fileio_tgt binary against the
// NBD clients that people use: nbdinfo, nbdcopy, nbddump and nbdfuse of libnbd
// and its Python binding, qemu-img and qemu-io, nbdkit's nbd plugin, and fio. It
// has no code of its own.
//
// Each test starts a server process (internal/proc), lets a client do
// something, and compares bytes: with what the client read back, with a model,
// or with the image file itself. When a test ends, its server gets SIGTERM and
// must leave with status 0.
//
// The clients come from Debian packages: libnbd-bin, python3-libnbd,
// qemu-utils, nbdkit, fuse3, fio, strace. Where one is missing a test is skipped and says
// which package to install; with CI=true in the environment that is a failure.
//
// # Is it the test or the server?
//
// INTEROP_SERVER=nbdkit or INTEROP_SERVER=qemu-nbd in the environment runs the
// same tests against that server. Tests of what only fileio_tgt has (its
// options, its signals, its messages) are skipped then. A test that a peer
// fails as well is probably wrong itself. INTEROP_SERVER=/path/to/fileio_tgt
// tests that binary, an installed one say, instead of building one.
package interop
