package node

import (
	"context"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// decode makes replies of n reply_cmds in b.raw, and reads all that they point
// to: sense and descriptors, READ data, and whether the buffers that they bring
// are there.
func (b *batch) decode(x *request, n int) {
	b.reset()
	b.replies, b.ptrs = grown(b.replies, n), grown(b.ptrs, n)
	b.sense = grown(b.sense, n*abi.MaxSense)
	for i := range n {
		r, p := &b.replies[i], &b.ptrs[i]
		_ = abi.DecodeReply(b.raw[i*abi.SizeReplyCmd:], r, p) // is long enough
		if p.Sense.Len > 0 {
			r.Sense = b.sense[i*abi.MaxSense:][:p.Sense.Len]
			b.want(load{kind: loadSense, reply: i}, p.Sense.Addr, r.Sense)
		}
		if p.WriteSame.Len > 0 {
			b.want(load{kind: loadWriteSame, reply: i}, p.WriteSame.Addr, make([]byte, p.WriteSame.Len))
		}
		if p.Remap.Len > 0 {
			b.want(load{kind: loadRemap, reply: i}, p.Remap.Addr, make([]byte, p.Remap.Len))
		}
		b.decodeBuffer(x, i)
	}
	b.load(x)
}

// decodeBuffer finds out what a reply has to do with a data buffer. What makes
// no sense is left to ucmd, which refuses it.
func (b *batch) decodeBuffer(x *request, i int) {
	r := &b.replies[i]
	read := r.Code == ucmd.SubExec && r.Type == ucmd.ReplyCompleted && r.RespDataLen > 0
	if !read && (r.Code != ucmd.SubAllocMem || r.PBuf == 0) {
		return
	}
	o, ok := x.dev.Outstanding(r.Handle)
	if !ok || o.Code != r.Code {
		return
	}
	switch {
	case !read:
		b.bring(x, i, abi.Addr(r.PBuf), int(o.AllocLen))
	case o.Dir != scsi.DirRead || r.RespDataLen > o.BufLen:
	case o.PBuf != 0 && int(r.RespDataLen) <= len(o.Buf):
		b.want(load{kind: loadData, reply: i}, abi.Addr(o.PBuf), o.Buf[:r.RespDataLen])
	case o.PBuf == 0 && r.PBuf != 0 && r.RespDataLen <= o.AllocLen:
		if k := b.bring(x, i, abi.Addr(r.PBuf), int(o.AllocLen)); k >= 0 {
			b.want(load{kind: loadFresh, reply: i, news: k}, abi.Addr(r.PBuf), b.news[k].host[:r.RespDataLen])
		}
	}
}

// want adds a piece to be read.
func (b *batch) want(l load, at abi.Addr, buf []byte) {
	b.pieces = append(b.pieces, Piece{at, buf})
	b.loads = append(b.loads, l)
}

// bring prepares a buffer of n bytes that reply i brings, and returns its
// index: host memory for it, and a byte of each page to find out whether they
// are there and may be written. -1: there can't be such a buffer. A second one
// for the same command is refused: a reply counts once.
func (b *batch) bring(x *request, i int, at abi.Addr, n int) int {
	if n <= 0 || at+abi.Addr(n) < at {
		return -1
	}
	h := uint32(0)
	if i >= 0 {
		h = b.replies[i].Handle
		for k := range b.news {
			if b.news[k].handle == h {
				return -1
			}
		}
	}
	host := x.space.store.alloc(n)
	if host == nil {
		return -1
	}
	k := len(b.news)
	b.news = append(b.news, newBuffer{addr: at, n: n, handle: h, host: host})
	end := at + abi.Addr(n)
	for page := at; page < end && page >= at; page = (page + pageSize) &^ (pageSize - 1) {
		// The byte's place is set by load: b.bytes may still move.
		b.want(load{kind: loadProbe, reply: i, news: k}, page, nil)
	}
	return k
}

// load reads the pieces, and makes the new buffers ready that are all there.
func (b *batch) load(x *request) {
	if len(b.pieces) == 0 {
		return
	}
	b.bytes = grown(b.bytes, len(b.pieces))
	for i := range b.loads {
		if b.loads[i].kind == loadProbe {
			b.pieces[i].Buf = b.bytes[i : i+1]
			b.probes = append(b.probes, b.pieces[i])
		}
	}
	eachFault(b.pieces, x.Mem.Read, func(i int) int { return b.missing(x, i) })
	for i, l := range b.loads {
		switch {
		case b.pieces[i].Buf == nil: // it was missing
		case l.kind == loadWriteSame:
			abi.SetWriteSame(&b.replies[l.reply], b.pieces[i].Buf)
		case l.kind == loadRemap:
			abi.SetRemap(&b.replies[l.reply], b.pieces[i].Buf)
		}
	}
	if len(b.news) > 0 {
		b.offerNews(x)
	}
}

// offerNews writes the probes back where they came from, which shows that the
// pages may be written (fact 36), and makes the buffers ready for Map.
func (b *batch) offerNews(x *request) {
	// probes and the probe loads are in the same order.
	k := 0
	writable := b.probes[:0]
	var of []int
	for i := range b.loads {
		if b.loads[i].kind != loadProbe {
			continue
		}
		p := b.probes[k]
		k++
		if b.news[b.loads[i].news].host != nil {
			writable = append(writable, p)
			of = append(of, b.loads[i].news)
		}
	}
	eachFault(writable, x.Mem.Write, func(i int) int {
		b.refuse(x, of[i])
		next := i + 1
		for next < len(of) && of[next] == of[i] {
			next++
		}
		return next
	})
	for _, n := range b.news {
		if n.host != nil {
			b.offered = true
			x.space.offer(brought{batch: b, addr: uint64(n.addr), host: n.host})
		}
	}
}

// refuse gives up a new buffer: Map won't find it.
func (b *batch) refuse(x *request, k int) {
	if host := b.news[k].host; host != nil {
		b.news[k].host = nil
		x.space.store.put(host)
	}
}

// missing deals with a piece that can't be read, and returns the next one to
// read.
func (b *batch) missing(x *request, i int) int {
	l := b.loads[i]
	b.pieces[i].Buf = nil
	switch l.kind {
	case loadSense:
		r := &b.replies[l.reply]
		r.Sense, r.BadSense = nil, true // R46, fact 37
	case loadData:
		// The module's pages are pinned; here they can have gone away. The
		// command ends as with a buffer that was never there (fact 36).
		r := &b.replies[l.reply]
		o := x.dev.GetOptions()
		sense := scsi.SenseAbortedInternalFailure
		r.Status, r.RespDataLen, r.BadSense = scsi.CheckCondition, 0, false
		r.Sense = sense.Append(nil, o.DSense == 1)
	case loadProbe, loadFresh:
		b.refuse(x, l.news)
		next := i + 1
		for next < len(b.loads) && b.loads[next].kind >= loadProbe && b.loads[next].news == l.news {
			b.pieces[next].Buf = nil
			next++
		}
		return next
	}
	return i + 1
}

// dropLeft takes back the new buffers that no reply has used.
func (b *batch) dropLeft(s *space) {
	if b.offered {
		s.withdraw(b)
		b.offered = false
	}
}

// lostList says whether reply i declares a list that could not be read: EFAULT
// then, where ucmd sees an empty list and says EINVAL.
func (b *batch) lostList(i int) bool {
	r, p := &b.replies[i], &b.ptrs[i]
	return p.WriteSame.Len > 0 && len(r.WriteSame) == 0 || p.Remap.Len > 0 && len(r.Remap) == 0
}

// give gives the first n replies of b, decoded, and fetches into subs what
// there is after them (rules R23 to R25, R28, R29).
func (b *batch) give(ctx context.Context, x *request, n int, subs []ucmd.Subcommand) (done, got int, err error) {
	done, got, err = x.dev.ReplyAndGet(ctx, b.replies[:n], subs)
	b.dropLeft(x.space)
	if err != nil && done < n && b.lostList(done) && err == error(syscall.EINVAL) {
		err = syscall.EFAULT
	}
	return done, got, err
}
