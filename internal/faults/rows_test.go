package faults

import (
	"syscall"

	"scstuser/internal/faultfs"
	"scstuser/nbd/nbdtest"
)

// Lines of the log.
var (
	readsFail  = line{"error", "the disk fails to read; clients get EIO"}
	readsAgain = line{"info", "the disk reads again"}

	writesFail  = line{"error", "the disk fails to write; clients get an error"}
	writesAgain = line{"info", "the disk writes again"}

	spaceFails = line{"error", "the disk has no space for what is written; clients get ENOSPC"}
	spaceAgain = line{"info", "the disk has space again for what is written"}

	dataLost = line{"error", "writes may be lost: the disk did not make them durable; " +
		"flushes and durable writes fail until the program is started again"}
	// endsLost is what a program says that ends after that.
	endsLost     = lostFor("input/output error")
	endsNoSpace  = lostFor("no space left on device")
	endsReadOnly = lostFor("read-only file system")
)

func lostFor(why string) line {
	return line{"at the end", "shut down: device …: sync …: " + why + " (writes may be lost; reopen the device to go on)"}
}

// badRange is in the middle of what is asked for there.
func badRange(ops faultfs.Op, errno syscall.Errno) faultfs.Fault {
	return faultfs.Fault{Ops: ops, Off: there + 1024, Len: 512, Err: errno}
}

// once is a fault that happens once.
func once(f faultfs.Fault) faultfs.Fault {
	f.Times = 1
	return f
}

var readRows = []row{
	{
		name: "read-EIO", fault: "EIO on reading a range",
		on: []medium{plain, block}, modes: []mode{writeBack, threads, direct, writeThrough},
		steps: []step{
			fails(badRange(faultfs.Read, syscall.EIO)),
			read(readError), often(read(readError)), readElsewhere(ok), writeElsewhere(ok), flush(ok),
			repaired, read(ok),
		},
		logs: []line{readsFail},
	},
	{
		name: "read-EIO-read-only", fault: "EIO on reading a range",
		on: []medium{plain, block}, modes: []mode{readOnly},
		steps: []step{
			fails(badRange(faultfs.Read, syscall.EIO)),
			read(readError), readElsewhere(ok), write(notWritable), repaired, read(ok),
		},
		logs: []line{readsFail},
	},
	{
		name: "read-EIO-once", fault: "EIO on reading a range, once",
		on: []medium{plain}, modes: []mode{writeBack, direct},
		steps: []step{
			fails(once(badRange(faultfs.Read, syscall.EIO))), read(readError), read(ok), readElsewhere(ok),
		},
		logs: []line{readsFail},
	},
	{
		name: "map-EIO", fault: "EIO on asking for the holes (lseek), which only BLOCK_STATUS needs",
		on: []medium{plain}, modes: []mode{writeBack, direct},
		steps: []step{
			fails(faultfs.Fault{Ops: faultfs.Map, Err: syscall.EIO}), read(ok), readElsewhere(ok), repaired, read(ok),
		},
		logs: []line{readsFail},
	},
	{
		name: "read-EIO-over", fault: "EIO on reading a range, for a while",
		on: []medium{plain}, modes: []mode{writeBack}, sizes: []int{4 << 10},
		steps: []step{
			fails(badRange(faultfs.Read, syscall.EIO)), read(readError),
			repaired, read(ok), quiet, read(ok),
		},
		logs: []line{readsFail, readsAgain},
	},
}

var writeRows = []row{
	{
		name: "write-EIO", fault: "EIO on writing a range",
		on: []medium{plain}, modes: []mode{writeBack, threads, direct, writeThrough},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.EIO)),
			write(writeError), often(write(writeError)), readElsewhere(ok), writeElsewhere(ok), flush(ok),
			repaired, write(ok), flush(ok),
		},
		logs: []line{writesFail},
	},
	{
		name: "write-EIO-device", fault: "EIO on writing a range of a device, around the page cache",
		on: []medium{block}, modes: []mode{direct},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.EIO)),
			write(writeError), often(write(writeError)), readElsewhere(ok), writeElsewhere(ok), flush(ok),
			repaired, write(ok), flush(ok),
		},
		logs: []line{writesFail},
	},
	{
		name: "write-EIO-over", fault: "EIO on writing a range, for a while",
		on: []medium{plain}, modes: []mode{writeBack}, sizes: []int{4 << 10},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.EIO)), write(writeError),
			repaired, write(ok), quiet, write(ok), flush(ok),
		},
		logs: []line{writesFail, writesAgain},
	},
	{
		name: "write-EIO-durable", fault: "EIO on writing a range durably",
		on: []medium{block}, modes: []mode{writeThrough},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.EIO)),
			write(writeError), readElsewhere(ok), writeElsewhere(writeError), flush(lostError),
			repaired, read(ok), write(writeError), flush(lostError),
			restart(1), write(ok), flush(ok),
		},
		logs: []line{dataLost}, says: []line{endsLost},
	},
	{
		name: "write-EROFS", fault: "EROFS on writing: the file system below has become read-only",
		on: []medium{plain}, modes: []mode{writeBack, direct},
		steps: []step{
			fails(faultfs.Fault{Ops: faultfs.Write, Err: syscall.EROFS}),
			write(protected), often(write(protected)), read(ok), flush(ok),
			repaired, write(ok), flush(ok),
		},
		logs: []line{writesFail},
	},
	{
		name: "short", fault: "reads and writes that stop early, after 4 KiB",
		on: []medium{plain}, modes: []mode{writeBack, threads, direct, writeThrough}, sizes: []int{1 << 20},
		steps: []step{
			fails(faultfs.Fault{Ops: faultfs.Read | faultfs.Write, Short: 4096}),
			write(ok), read(ok), fua(ok), flush(ok),
		},
	},
	{
		name: "zero-EIO", fault: "EIO on zeroing and on punching holes (fallocate)",
		on: []medium{plain}, modes: []mode{writeBack, direct, writeThrough},
		steps: []step{
			fails(faultfs.Fault{Ops: faultfs.Zero | faultfs.Punch, Err: syscall.EIO}),
			zeroes(writeError), trim(writeError), write(ok), flush(ok),
			repaired, zeroes(ok), flush(ok),
		},
		logs: []line{writesFail},
	},
	{
		name: "zero-unsupported", fault: "EOPNOTSUPP on zeroing and on punching holes",
		on: []medium{plain}, modes: []mode{writeBack, direct, writeThrough},
		steps: []step{
			fails(faultfs.Fault{Ops: faultfs.Zero | faultfs.Punch, Err: syscall.EOPNOTSUPP}),
			write(ok), zeroes(ok), read(ok), trim(ok), flush(ok),
		},
	},
}

var syncRows = []row{
	{
		name: "fsync-EIO-once", fault: "EIO on fsync, once for each open file, as Linux tells it",
		on: []medium{plain}, modes: []mode{writeBack, threads, direct},
		steps: []step{
			write(ok), fails(faultfs.Fault{Ops: faultfs.Sync, Times: 1, PerOpen: true, Err: syscall.EIO}),
			flush(lostError), flush(lostError), another(nbdtest.CmdFlush, lostError), fua(writeError), write(ok), read(ok),
			often(flush(lostError)), repaired, flush(lostError),
			restart(1), flush(ok), fua(ok),
		},
		logs: []line{dataLost}, says: []line{endsLost},
	},
	{
		name: "fsync-EROFS", fault: "EROFS on fsync: the file system below gave up",
		on: []medium{plain}, modes: []mode{writeBack},
		steps: []step{
			write(ok), fails(faultfs.Fault{Ops: faultfs.Sync, Times: 1, PerOpen: true, Err: syscall.EROFS}),
			flush(lostError), repaired, flush(lostError), restart(1), flush(ok),
		},
		logs: []line{dataLost}, says: []line{endsReadOnly},
	},
	{
		name: "fsync-EIO-write-through", fault: "EIO on making a write durable",
		on: []medium{plain}, modes: []mode{writeThrough},
		steps: []step{
			write(ok), fails(faultfs.Fault{Ops: faultfs.Sync, Times: 1, PerOpen: true, Err: syscall.EIO}),
			write(writeError), writeElsewhere(writeError), flush(lostError), read(ok),
			repaired, write(writeError), restart(1), write(ok), flush(ok),
		},
		logs: []line{dataLost}, says: []line{endsLost},
	},
	{
		name: "writeback-EIO", fault: "EIO when the kernel writes back what it has cached",
		on: []medium{cached, block}, modes: []mode{writeBack, threads},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.EIO)),
			write(ok), flush(lostError), flush(lostError), fua(writeError), writeElsewhere(ok), readElsewhere(ok),
			often(flush(lostError)), repaired, write(ok), flush(lostError),
			restart(1), write(ok), flush(ok), fua(ok),
		},
		logs: []line{dataLost}, says: []line{endsLost},
	},
	{
		name: "writeback-EIO-nv-cache", fault: "the same, when the cache is said to be non-volatile: nobody is told",
		on: []medium{cached}, modes: []mode{nvCache},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.EIO)), write(ok), flush(ok), fua(ok), repaired, flush(ok),
		},
	},
	{
		name: "writeback-EIO-FUA", fault: "EIO when the kernel writes back what it has cached, and a FUA write waits for it",
		on: []medium{cached, block}, modes: []mode{writeBack},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.EIO)),
			fua(writeError), flush(lostError), repaired, fua(writeError), flush(lostError),
			restart(1), fua(ok), flush(ok),
		},
		logs: []line{dataLost}, says: []line{endsLost},
	},
	{
		name: "writeback-ENOSPC", fault: "ENOSPC when the kernel writes back what it has cached (a thin volume is full)",
		on: []medium{cached}, modes: []mode{writeBack},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.ENOSPC)),
			write(ok), flush(noSpace), flush(noSpace), repaired, flush(noSpace),
			restart(1), write(ok), flush(ok),
		},
		logs: []line{dataLost}, says: []line{endsNoSpace},
	},
}

var ext4Rows = []row{
	{
		name: "ext4-EIO", fault: "EIO on all writes to the disk below",
		on: []medium{ext4}, modes: []mode{writeBack, threads},
		steps: []step{
			write(ok), flush(ok), fails(faultfs.Fault{Ops: faultfs.Write, Err: syscall.EIO}),
			write(ok), flush(lostError), flush(lostError), read(ok), readElsewhere(ok),
			repaired, read(ok), flush(lostError), {"", func(r *rig) { r.stop(1) }},
		},
		logs: []line{dataLost}, says: []line{endsLost},
	},
	{
		name: "killed", fault: "EIO when the kernel writes back what a server had cached that was killed",
		on: []medium{cached, block}, modes: []mode{writeBack},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.EIO)), write(ok),
			{"*server killed and started again*", func(r *rig) {
				r.server.Kill()
				r.logs += r.server.Output()
				r.start()
			}},
			flush(lostError), repaired, flush(lostError),
		},
		logs: []line{dataLost},
	},
}

var spaceRows = []row{
	{
		name: "write-ENOSPC", fault: "ENOSPC on writing a range",
		on: []medium{plain}, modes: []mode{writeBack, threads, direct, writeThrough},
		steps: []step{
			fails(badRange(faultfs.Write, syscall.ENOSPC)),
			write(noSpace), fua(noSpace), often(write(noSpace)), readElsewhere(ok), writeElsewhere(ok), flush(ok),
			repaired, write(ok), fua(ok), flush(ok),
		},
		logs: []line{spaceFails},
	},
	{
		name: "zero-ENOSPC", fault: "ENOSPC on zeroing (fallocate)",
		on: []medium{plain}, modes: []mode{writeBack, writeThrough},
		steps: []step{
			fails(faultfs.Fault{Ops: faultfs.Zero, Err: syscall.ENOSPC}),
			zeroes(noSpace), write(ok), flush(ok), repaired, zeroes(ok), flush(ok),
		},
		logs: []line{spaceFails},
	},
	{
		name: "full-tmpfs", fault: "the file system below is full",
		on: []medium{small, sparse}, modes: []mode{writeBack, threads, writeThrough},
		steps: []step{
			writeElsewhere(ok), flush(ok),
			{"*full*", func(r *rig) { r.disk.fill(r.t) }},
			write(noSpace), fua(noSpace), often(write(noSpace)), writeElsewhere(ok), readElsewhere(ok), flush(ok),
			{"*space made*", func(r *rig) { r.disk.empty(r.t) }},
			write(ok), flush(ok), read(ok),
		},
		logs: []line{spaceFails},
	},
	{
		name: "full-tmpfs-over", fault: "the file system below is full, for a while",
		on: []medium{small}, modes: []mode{writeBack}, sizes: []int{4 << 10},
		steps: []step{
			{"*full*", func(r *rig) { r.disk.fill(r.t) }},
			write(noSpace), {"*space made*", func(r *rig) { r.disk.empty(r.t) }},
			write(ok), quiet, write(ok), flush(ok),
		},
		logs: []line{spaceFails, spaceAgain},
	},
}
