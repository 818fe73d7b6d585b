package nbd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
)

func TestParseAllow(t *testing.T) {
	for _, s := range []string{
		"192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "::1", "::ffff:10.0.0.0/104", "uid:0", "uid:4294967295", "cid:3",
	} {
		if _, err := ParseAllow([]string{s}); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for s, want := range map[string]string{
		"":             "no address",
		"localhost":    "no address",
		"192.0.2.7/24": "write 192.0.2.0/24, or 192.0.2.7",
		"192.0.2.0/33": "no address",
		"uid:root":     "not a number",
		"uid:-1":       "not a number",
		"cid:":         "not a number",
		"gid:5":        "no address",
	} {
		if _, err := ParseAllow([]string{s}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
	}
}

// addressed is a connection from somewhere.
type addressed struct {
	net.Conn
	from net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }

func TestAllowList(t *testing.T) {
	for _, tc := range []struct {
		from     string
		list     []string
		allowed  bool
		vsockCID uint32
	}{
		{"192.0.2.7", nil, true, 0},
		{"192.0.2.7", []string{"192.0.2.0/24"}, true, 0},
		{"192.0.3.7", []string{"192.0.2.0/24"}, false, 0},
		{"192.0.3.7", []string{"192.0.2.0/24", "192.0.3.7"}, true, 0},
		{"::ffff:192.0.2.7", []string{"192.0.2.0/24"}, true, 0},
		{"192.0.2.7", []string{"::ffff:192.0.2.0/120"}, true, 0},
		{"2001:db8::1", []string{"2001:db8::/32"}, true, 0},
		{"2001:db9::1", []string{"2001:db8::/32"}, false, 0},
		{"fe80::1%eth0", []string{"fe80::/10"}, true, 0},
		{"192.0.2.7", []string{"::/0"}, false, 0},
		{"192.0.2.7", []string{"uid:0", "cid:3"}, false, 0},
		{"", []string{"cid:3"}, true, 3},
		{"", []string{"cid:3"}, false, 4},
		{"", []string{"0.0.0.0/0"}, false, 3},
		{"", nil, true, 3},
	} {
		var from net.Addr = vsockAddr{cid: tc.vsockCID, port: 1}
		if tc.vsockCID == 0 {
			from = &net.TCPAddr{IP: net.ParseIP(strings.TrimSuffix(tc.from, "%eth0")), Port: 1}
			if strings.HasSuffix(tc.from, "%eth0") {
				from.(*net.TCPAddr).Zone = "eth0"
			}
		}
		l, err := ParseAllow(tc.list)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.check(addressed{from: from}); (err == nil) != tc.allowed {
			t.Errorf("%v with %v: %v", from, tc.list, err)
		}
	}
}

// A client that is not allowed gets nothing, not even the greeting.
func TestAllowUsers(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(me.Uid)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		uid     int
		allowed bool
	}{{uid, true}, {uid + 1, false}} {
		l, err := ParseAllow([]string{fmt.Sprintf("uid:%d", tc.uid)})
		if err != nil {
			t.Fatal(err)
		}
		f := newFakeRig(t, fakeTraits{}, Options{Allow: l})
		c := f.dial(t)
		if tc.allowed {
			c.Hello()
		} else {
			c.ExpectClosed()
		}
	}
}

func TestKeepAlive(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tc := range []struct {
		d    time.Duration
		want [5]int // on, idle, interval, count, user timeout
	}{
		{30 * time.Second, [5]int{1, 30, 10, 3, 60_000}},
		{2 * time.Second, [5]int{1, 2, 1, 3, 4000}},
		{-1, [5]int{}},
	} {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		keepAlive(&singleConn{Conn: server}, tc.d)
		rc, err := server.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got [5]int
		err = rc.Control(func(fd uintptr) {
			got[0], _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			for i, o := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT, unix.TCP_USER_TIMEOUT} {
				got[i+1], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, o)
			}
		})
		if err != nil || tc.d > 0 && got != tc.want || got[0] != tc.want[0] {
			t.Errorf("%v: %v, want %v", tc.d, got, tc.want)
		}
	}
}

func TestIdleTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	opt := Options{IdleTimeout: timeout, Linger: time.Millisecond, Grace: 50 * time.Millisecond}
	t.Run("idle", func(t *testing.T) {
		f := newFakeRig(t, fakeTraits{}, opt)
		c := f.open(t)
		start := time.Now()
		c.ExpectClosed()
		if d := time.Since(start); d < timeout/2 {
			t.Errorf("closed after %v", d)
		}
	})
	t.Run("busy", func(t *testing.T) {
		f := newFakeRig(t, fakeTraits{}, opt)
		c := f.open(t)
		for end := time.Now().Add(4 * timeout); time.Now().Before(end); time.Sleep(timeout / 20) {
			reads(t, c, 0, make([]byte, 512))
		}
	})
	t.Run("waits for the device", func(t *testing.T) {
		f := newFakeRig(t, fakeTraits{}, opt)
		got := f.hold(scsi.OpRead16, 1)
		c := f.open(t)
		c.SendRequests(readOf(1, 0, 512))
		h := <-got
		time.Sleep(4 * timeout)
		h.release()
		if e, _ := c.ReadReply(); e != nbdtest.OK {
			t.Error(e)
		}
		c.Recv(512)
		time.Sleep(timeout / 5)
		reads(t, c, 0, make([]byte, 512)) // its time has begun anew
		c.ExpectClosed()
	})
	t.Run("in the middle of a payload", func(t *testing.T) {
		f := newFakeRig(t, fakeTraits{}, opt)
		c := f.open(t)
		c.Send(writeOf(1, 0, make([]byte, 1<<20)).Bytes()[:5000])
		c.ExpectClosed()
	})
	t.Run("in the middle of a header", func(t *testing.T) {
		f := newFakeRig(t, fakeTraits{}, opt)
		c := f.open(t)
		c.Send(readOf(1, 0, 512).Bytes()[:20])
		c.ExpectClosed()
	})
}

// fileOf returns a copy of a socket's descriptor, as another process would have
// been given.
func fileOf(t *testing.T, c interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// inherited serves what f is.
func inherited(t *testing.T, f *os.File) (l net.Listener, served chan error) {
	t.Helper()
	l, err := Inherit(f)
	if err != nil {
		t.Fatal(err)
	}
	rig := newFakeRig(t, fakeTraits{}, Options{})
	served = make(chan error, 1)
	go func() { served <- rig.srv.Serve(l) }()
	return l, served
}

func TestInheritListeners(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = t.TempDir() + "/s"
			}
			theirs, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			l, served := inherited(t, fileOf(t, theirs.(interface{ File() (*os.File, error) })))
			if got := ListenAddrOf(l); got.Network != network || got.Address != theirs.Addr().String() {
				t.Errorf("it listens on %v", got)
			}
			for range 3 {
				c := nbdtest.Dial(t, network, theirs.Addr().String())
				c.Hello()
				c.Go("")
				reads(t, c, 0, make([]byte, 4096))
			}
			l.Close()
			if err := <-served; err == nil {
				t.Error("a listener that fails is no error")
			}
			if network == "unix" {
				if _, err := os.Lstat(address); err != nil {
					t.Errorf("the socket's file, which is not ours: %v", err)
				}
			}
		})
	}
}

// A connected socket is one client; serving ends with it.
func TestInheritConnection(t *testing.T) {
	client, server := nbdtest.Socketpair(t)
	_, served := inherited(t, fileOf(t, server.(*net.UnixConn)))
	server.Close()
	client.Hello()
	client.Go("")
	if e := client.Write(512, pattern(1, 4096), 0); e != nbdtest.OK {
		t.Error(e)
	}
	reads(t, client, 512, pattern(1, 4096))
	select {
	case <-served:
		t.Fatal("serving ends before the client")
	case <-time.After(10 * time.Millisecond):
	}
	client.Disc(0)
	client.ExpectClosed()
	within(t, "serving one client", func() {
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// A client that nobody has accepted yet goes with the listener.
func TestInheritedConnectionIsClosed(t *testing.T) {
	client, server := nbdtest.Socketpair(t)
	l, err := Inherit(fileOf(t, server.(*net.UnixConn)))
	server.Close()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	client.ExpectClosed()
	if _, err := l.Accept(); !errors.Is(err, io.EOF) {
		t.Errorf("Accept: %v", err)
	}
}

func TestInheritNothingOfUse(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Inherit(file); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	if _, err := Inherit(fileOf(t, udp.(*net.UDPConn))); err == nil || !strings.Contains(err.Error(), "stream") {
		t.Errorf("a datagram socket: %v", err)
	}
}

// The listener for families that package net does not know, on one that it
// does: what vsock is served with.
func TestFDListener(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: dir + "/s"}), unix.Listen(fd, 5)); err != nil {
		t.Fatal(err)
	}
	l, err := newFDListener(os.NewFile(uintptr(fd), "test"))
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeRig(t, fakeTraits{}, Options{})
	served := make(chan error, 1)
	go func() { served <- f.srv.Serve(l) }()
	c := nbdtest.Dial(t, "unix", dir+"/s")
	c.Hello()
	c.Go("")
	if e := c.Write(0, pattern(1, 1<<20), 0); e != nbdtest.OK {
		t.Error(e)
	}
	reads(t, c, 0, pattern(1, 1<<20))
	shutDown(t, f.srv)
	if err := <-served; err != nil {
		t.Error(err)
	}
	c.ExpectClosed()
}

func TestVsockAddresses(t *testing.T) {
	for spec, want := range map[string][2]string{
		"vsock:10809":   {"vsock:10809", "nbd+vsock://1:10809/x"},
		"vsock:3:10809": {"vsock:3:10809", "nbd+vsock://3:10809/x"},
		"vsock:0":       {"vsock:0", "nbd+vsock://1:0/x"},
	} {
		a, err := ParseListen(spec)
		if err != nil || a.String() != want[0] || a.URI("x") != want[1] {
			t.Errorf("%s: %v, %s, %v", spec, a, a.URI("x"), err)
		}
	}
	for _, spec := range []string{"vsock:", "vsock:x", "vsock:1:", "vsock::1", "vsock:1:2:3", "vsock:-1", "vsock:4294967295", "vsock:4294967296:1"} {
		if a, err := ParseListen(spec); err == nil || !strings.Contains(err.Error(), "vsock:cid:port") {
			t.Errorf("%s: %v, %v", spec, a, err)
		}
	}
	if a, err := ParseListen("stdin"); err != nil || a.String() != "stdin" {
		t.Errorf("stdin: %v, %v", a, err)
	}
}

func TestVsock(t *testing.T) {
	l, err := Listen(ListenAddr{Network: "vsock", Address: "0"})
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	if a := ListenAddrOf(l); a.Network != "vsock" || a.Address == "0" || strings.Contains(a.Address, ":") {
		t.Errorf("it listens on %v", a)
	}
	if _, err := Listen(ListenAddrOf(l)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the same port again: %v", err)
	}
}

// A connection of our own needs neither TLS nor a place on the list.
func TestServeLocal(t *testing.T) {
	opt, _ := tlsOptions(t, TLSRequire)
	l, err := ParseAllow([]string{"192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeRig(t, fakeTraits{}, Options{TLS: opt, Allow: l})
	client, server := nbdtest.Socketpair(t)
	f.srv.ServeLocal(server)
	client.Hello()
	client.Go("")
	reads(t, client, 0, make([]byte, 512))
	f.dial(t).ExpectClosed()
}

func TestSocketAccess(t *testing.T) {
	gid := os.Getgid()
	for _, tc := range []struct {
		access SocketAccess
		want   os.FileMode
	}{
		{SocketAccess{}, 0o777 &^ 0o027},
		{SocketAccess{Mode: 0o660}, 0o660},
		{SocketAccess{Mode: 0o622}, 0o622},
		{SocketAccess{SetOwner: true, UID: -1, GID: gid}, 0o777 &^ 0o027},
	} {
		old := unix.Umask(0o027)
		path := t.TempDir() + "/s"
		l, err := ListenUnix(path, tc.access)
		if now := unix.Umask(old); now != 0o027 {
			t.Errorf("the umask is %#o", now)
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != tc.want {
			t.Errorf("%+v: %v, %v, want %v", tc.access, info.Mode(), err, tc.want)
		}
		l.Close()
	}
	path := t.TempDir() + "/s"
	if os.Getuid() == 0 {
		l, err := ListenUnix(path, SocketAccess{SetOwner: true, UID: 12345, GID: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if info, err := os.Lstat(path); err != nil || info.Sys().(*syscall.Stat_t).Uid != 12345 {
			t.Errorf("the owner is another: %v", err)
		}
		return
	}
	if _, err := ListenUnix(path, SocketAccess{SetOwner: true, UID: 0, GID: -1}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a socket for root: %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is left behind")
	}
}
