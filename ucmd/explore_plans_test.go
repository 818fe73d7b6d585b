package ucmd

// plans are what the explorer explores: each a few commands and what may
// happen around them. depth and switches are what every test run does; make
// explore goes further.
var plans = []plan{
	{
		name: "writes",
		header: `device reuse=all on_free=ignore
command w1 write blocks=8
command w2 write blocks=8
command W3 write blocks=16`,
		times: times(opKill, opFlush),
		depth: 12, switches: 0,
	},
	{
		name: "switches",
		header: `device reuse=all on_free=ignore
command w1 write blocks=8
command w2 write blocks=8`,
		times: times(opKill, opFlush),
		depth: 7, switches: 1,
	},
	{
		name: "delivery",
		header: `device reuse=all on_free=call hold
command w1 write blocks=8
command r2 read blocks=8
command W3 write blocks=16`,
		times: times(opKill, opFlush),
		depth: 9, switches: 0,
	},
	{
		name: "replies",
		header: `device reuse=all on_free=call
command w1 write blocks=8
command r2 read blocks=8`,
		replies: []replyKind{replyWrong, replyCheck, replyBusy, replyNoBuffer, replyUnaligned, replyUnmapped, replyAgain, replyUnknown, replyTooLong},
		odd:     2,
		times:   times(opKill),
		depth:   8, switches: 0,
	},
	{
		name: "aborts",
		header: `device reuse=all on_free=call
command w1 write blocks=8
command r2 read blocks=8
command w3 write blocks=8`,
		times: times(opAbort, opReset, opKill),
		depth: 8, switches: 0,
	},
	{
		name: "background",
		header: `device reuse=all on_free=ignore
command w1 write blocks=8
command w2 write blocks=8`,
		replies: []replyKind{replyBackground, replyCompleted, replyAgain},
		odd:     3,
		times:   times(opFlush, opKill, opExtCDB),
		depth:   10, switches: 0,
	},
	{
		name: "background-call",
		header: `device reuse=all on_free=call
command w1 write blocks=8
command s2 sync`,
		replies: []replyKind{replyBackground, replyCompleted, replyAgain},
		odd:     3,
		times:   times(opAbort, opKill),
		depth:   9, switches: 0,
	},
	{
		name: "prealloc",
		header: `device reuse=all on_free=ignore purge=1
command w1 write blocks=8
command w2 write blocks=8`,
		times: times(opPrealloc, opPrealloc, opFlush, opPurge, opKill),
		depth: 8, switches: 0,
	},
	{
		name: "options",
		header: `device reuse=all on_free=ignore
command w1 write blocks=8
command w2 write blocks=8
command r3 read blocks=8`,
		options: "on_free=0 reuse=0",
		times:   times(opOptions, opFlush, opKill),
		depth:   9, switches: 0,
	},
	{
		name: "uncached",
		header: `device reuse=none on_free=call
command w1 write blocks=8
command r2 read blocks=8
command s3 sync`,
		replies: []replyKind{replyWrong, replyNoBuffer},
		odd:     1,
		times:   times(opAbort, opKill),
		depth:   8, switches: 0,
	},
	{
		name: "limits",
		header: `device reuse=all on_free=ignore max_pages=2 max_idle_pages=1
command w1 write blocks=8
command W2 write blocks=16
command w3 write blocks=8`,
		times: times(opPrealloc, opFlush, opKill),
		depth: 9, switches: 0,
	},
	{
		name: "sessions",
		header: `device reuse=all on_free=ignore
command w1 write blocks=8
command r2 read blocks=8`,
		replies: []replyKind{replyRefuse, replyWrong},
		odd:     1,
		times:   times(opAttach, opDetach, opKill),
		depth:   8, switches: 0,
	},
	{
		name: "parse",
		header: `device reuse=all on_free=ignore parse=call unit_attentions
command w1 write blocks=8
command r2 read blocks=8`,
		replies: []replyKind{replyWrong, replyCheck, replyBidi, replyAgain},
		odd:     2,
		times:   times(opAbort, opRequeue, opKill),
		depth:   7, switches: 0,
	},
	{
		name: "shared",
		header: `device reuse=all on_free=ignore shared
command w1 write blocks=8
command w2 write blocks=8 disk2
command w3 write blocks=8 disk2`,
		times: times(opFlush, opKill),
		depth: 10, switches: 0,
	},
	{
		name: "write-same",
		header: `device reuse=all on_free=ignore
command x1 write-same blocks=8
command w2 write blocks=8`,
		replies: []replyKind{replyWriteSame, replyCheck},
		odd:     2,
		times:   times(opAbort, opKill),
		depth:   10, switches: 0,
	},
	{
		name: "order",
		header: `device reuse=all on_free=ignore
command w1 write blocks=8
command o2 write blocks=8 ordered
command h3 read blocks=8 head-of-queue`,
		times: times(opAbort, opKill),
		depth: 9, switches: 0,
	},
	{
		name: "restart",
		header: `device reuse=all on_free=ignore grace=30s
command w1 write blocks=8
command r2 read blocks=8`,
		times: times(opGone, opRegister, opKill),
		depth: 9, switches: 0,
	},
	{
		name: "restart-twice",
		header: `device reuse=all on_free=call grace=30s
command w1 write blocks=8`,
		times: times(opGone, opGone, opRegister, opRegister, opAbort),
		depth: 11, switches: 0,
	},
	{
		name: "stalls",
		header: `device reuse=all on_free=ignore release_timeout=1s stalls
command w1 write blocks=8
command r2 read blocks=8`,
		times: times(opKill, opStall),
		depth: 5, switches: 1,
	},
	{
		name: "stalls-events",
		header: `device reuse=all on_free=ignore unit_attentions release_timeout=1s stalls
command i1 inquiry
command w2 write blocks=8`,
		times: times(opKill, opStall),
		depth: 5, switches: 1,
	},
}

// times counts how often each action may be done.
func times(ops ...op) (n [opCount]int) {
	for _, o := range ops {
		n[o]++
	}
	return n
}
