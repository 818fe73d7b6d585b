package nbd

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// keepAliveProbes is how many probes in a row a TCP client may leave unanswered.
const keepAliveProbes = 3

// keepAlive has the system find out about TCP clients that are gone without a
// word: after d of silence they are probed, and given up after another d. The
// same goes for what they don't acknowledge. Less than 0: never.
func keepAlive(nc net.Conn, d time.Duration) {
	if u, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = u.NetConn()
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	// A socket on which this fails has other ways to end.
	if d < 0 {
		_ = tcp.SetKeepAlive(false)
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: d, Interval: max(d/keepAliveProbes, time.Second), Count: keepAliveProbes,
	})
	if rc, err := tcp.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((2 * d).Milliseconds()))
		})
	}
}
