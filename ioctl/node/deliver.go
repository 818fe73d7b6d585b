package node

import (
	"slices"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// deliver copies subcommands to the caller: each WRITE's payload into its pbuf
// and then all get_cmds, one behind the other from home on (rules R4, R27, F7),
// with one system call. Commands whose payload can't be delivered are ended with an error and
// taken out of the list; n is how many arrived. EFAULT: the get_cmd of the n-th
// did not; it and those behind it can be fetched again.
func (b *batch) deliver(x *request, got int, home abi.Addr) (n int, err error) {
	b.subs = b.subs[:got]
	b.out, b.lens = grown(b.out, got*abi.SizeGetCmd), grown(b.lens, got)
	for {
		b.reset()
		b.payloads(x)
		payloads := len(b.pieces)
		for i := range b.subs {
			out := b.out[i*abi.SizeGetCmd:][:abi.SizeGetCmd]
			b.lens[i], _ = abi.EncodeSubcommand(out, &b.subs[i]) // is long enough
			b.want(load{reply: i}, home+abi.Addr(i*abi.SizeGetCmd), out[:b.lens[i]])
		}
		fault := -1
		eachFault(b.pieces, x.Mem.Write, func(i int) int {
			fault = i
			return len(b.pieces)
		})
		switch {
		case fault < 0:
			b.record(x, len(b.subs))
			return len(b.subs), nil
		case fault < payloads:
			b.fail(x, b.loads[fault].reply)
		default:
			n = fault - payloads
			b.record(x, n)
			for _, s := range slices.Backward(b.subs[n:]) {
				x.dev.Requeue(s.Handle) // R27
			}
			return n, syscall.EFAULT
		}
	}
}

// payloads adds the pieces that WRITEs carry.
func (b *batch) payloads(x *request) {
	for i := range b.subs {
		s := &b.subs[i]
		if s.Code != ucmd.SubExec || !s.Dir.Writes() || s.PBuf == 0 {
			continue
		}
		o, ok := x.dev.Outstanding(s.Handle)
		switch {
		case !ok || o.Code != ucmd.SubExec: // somebody guessed its handle and answered it
		case s.Dir == scsi.DirBidi:
			if len(o.OutBuf) > 0 {
				b.want(load{reply: i}, abi.Addr(s.OutPBuf), o.OutBuf)
			}
		case len(o.Buf) > 0:
			b.want(load{reply: i}, abi.Addr(s.PBuf), o.Buf)
		}
	}
}

// fail ends a fetched WRITE whose buffer has gone away, as a command is ended
// whose buffer was never there (fact 36), and takes it out of the list.
func (b *batch) fail(x *request, i int) {
	// A reply of no type is refused, and its command ended with an error.
	_ = x.dev.Reply(&ucmd.Reply{Handle: b.subs[i].Handle, Code: ucmd.SubExec})
	x.host.opt.Log.WithField("device", x.dev.Desc().Name).WithField("handle", b.subs[i].Handle).
		Debug("a WRITE's buffer is not in the handler's memory any more; the command was ended")
	b.subs = slices.Delete(b.subs, i, i+1)
}
