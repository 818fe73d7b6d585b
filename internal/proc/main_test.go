package proc

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// helperEnv makes the test binary play a server instead of running the tests.
// Its value is one of the modes below.
const helperEnv = "PROC_TEST_SERVER"

// How the played server behaves.
const (
	modeGood     = "good"     // greets, leaves with 0 on SIGTERM
	modeRefuses  = "refuses"  // prints a reason and leaves with 3 at once
	modeStranger = "stranger" // listens, but speaks another protocol
	modeDirty    = "dirty"    // leaves with 7 on SIGTERM
	modeDeaf     = "deaf"     // ignores SIGTERM
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperEnv); mode != "" {
		os.Exit(play(mode, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// played is a Program that is this test binary.
type played struct{ mode string }

func (played) Name() string { return "played" }

func (p played) Argv(c Config) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := []string{"env", helperEnv + "=" + p.mode, self}
	for _, e := range c.Listen {
		argv = append(argv, e.String())
	}
	return argv, nil
}

// play is the server's main function.
func play(mode string, endpoints []string) int {
	fmt.Println("playing", mode)
	if mode == modeRefuses {
		fmt.Fprintln(os.Stderr, "no such file")
		return 3
	}
	terminated := make(chan os.Signal, 1)
	if mode == modeDeaf {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(terminated, syscall.SIGTERM)
	}
	for _, e := range endpoints {
		network, addr, _ := strings.Cut(e, ":")
		l, err := net.Listen(network, addr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer l.Close()
		go greetClients(l, mode)
	}
	<-terminated
	if mode == modeDirty {
		return 7
	}
	return 0
}

// greetClients greets everyone and hangs up on the first option.
func greetClients(l net.Listener, mode string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		hello := make([]byte, 18)
		if mode != modeStranger {
			binary.BigEndian.PutUint64(hello[0:], nbdMagic)
			binary.BigEndian.PutUint64(hello[8:], optMagic)
			binary.BigEndian.PutUint16(hello[16:], 0xffff)
		}
		_, _ = conn.Write(hello)
		var bye [20]byte
		n, _ := conn.Read(bye[:])
		if flags := binary.BigEndian.Uint32(bye[:]); n > 0 && flags != clientFlags {
			fmt.Fprintf(os.Stderr, "client flags %#x\n", flags)
		}
		conn.Close()
	}
}
