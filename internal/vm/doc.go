// Package vm boots a real Linux kernel in QEMU, for tests of what needs one: the
// kernel's own NBD client, file systems on it, a power cut. It is test support
// and is not linked into fileio_tgt.
//
// The story of one machine: [Start] makes an initial root file system out of a
// static busybox, the kernel modules, tools of this host with their libraries and
// programs of this module, starts QEMU (with emulation where there is no KVM) on
// Debian's kernel with it, and waits until the agent in the guest
// (internal/vm/agent) greets. [Machine.Run] and [Machine.Start] then run commands
// in the guest, [Machine.ReadFile] and [Machine.WriteFile] carry files.
// [Machine.Kill] is a power cut, [Machine.Close] an orderly end. Tests call
// [Boot], which skips, starts, logs and cleans up, and [Machine.Shell].
//
//	config.go   what a machine has
//	need.go     whether a machine can be had here, and what to do if not
//	kernel.go   Debian's kernel in the cache, its modules in order
//	tools.go    programs of the host and the libraries that they need
//	build.go    programs of this module, static
//	image.go    the initial root file system
//	qemu.go     QEMU's command line
//	machine.go  one machine from start to end
//	monitor.go  QEMU's own control
//	link.go     talking to the agent (internal/vm/wire)
//	process.go  a command in the guest
//	buffer.go   what it, and the console, has printed
//	files.go    files in the guest
//	boot.go     all of it for a test
//
// # The network
//
// The guest reaches servers on this host that listen on 127.0.0.1 at 10.0.2.2
// ([HostAddress]), with the same ports. The host reaches ports of the guest that
// Config.Forward names at [Machine.Addr].
//
// # Locks
//
// link.mu guards the requests under way and is held while one is sent; monitor.mu
// is held for one command of QEMU's; built.mu while a program is built; and
// safeBuffer.mu guards what somebody has printed. None is taken under another.
//
// # Invariants
//
// No wait is without a limit: a context, or a time in this package. A machine
// never outlives the process that started it: the kernel kills QEMU when that
// dies. After Close or Kill nothing of it is left, no process, socket or file,
// except the disks, which are the caller's.
package vm
