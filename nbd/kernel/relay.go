package kernel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// relay carries what the kernel says in the clear to a server under TLS, and
// back.
type relay struct {
	kernel, server net.Conn
	copies         sync.WaitGroup
	over           atomic.Bool // the connection has ended
}

// startRelay takes server over and returns what the kernel is to be given.
func startRelay(server net.Conn) (*relay, *os.File, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	r := &relay{kernel: ours, server: server}
	for _, way := range [][2]net.Conn{{ours, server}, {server, ours}} {
		r.copies.Go(func() {
			_, _ = io.Copy(way[1], way[0]) // whoever is left hears of the end
			r.hangUp()
		})
	}
	return r, theirs, nil
}

func (r *relay) hangUp() {
	r.over.Store(true)
	_ = r.kernel.Close()
	_ = r.server.Close()
}

// stop ends the relay, and waits for that.
func (r *relay) stop() {
	r.hangUp()
	r.copies.Wait()
}

// socketPair returns two ends of a connection: a connection for us, and a file
// to be passed on.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "socket pair"), os.NewFile(uintptr(fds[1]), "socket pair")
	defer ours.Close() // package net makes a copy
	c, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return c, theirs, nil
}

// fileOf returns the socket of a connection as a file, and closes the connection.
func fileOf(c net.Conn) (*os.File, error) {
	defer c.Close()
	f, ok := c.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, errors.New("the connection is no socket")
	}
	return f.File()
}
