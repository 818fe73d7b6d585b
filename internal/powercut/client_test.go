package powercut

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scstuser/internal/powercut/volatiledisk"
	"scstuser/nbd/nbdtest"
)

// serveDisk serves a disk of so many sectors until the test ends.
func serveDisk(t *testing.T, sectors int64) (*volatiledisk.Disk, Dialer) {
	t.Helper()
	m, err := volatiledisk.NewMedium(sectors * SectorSize)
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.PowerOn()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	s, err := volatiledisk.Serve(d, socket, volatiledisk.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, Dial("unix", socket)
}

func someLoad(export string) Load {
	return Load{Export: export, Connections: 2, Depth: 4, BlockSize: SectorSize, MaxBlocks: 8, Mix: Mixes[0], Seed: 1}
}

// A run that nobody cuts ends with everything answered, and with what it wrote.
func TestRunEndsWhenItsTimeIsOver(t *testing.T) {
	_, dial := serveDisk(t, 128)
	j := NewJournal(1, 128, Rules{MultiConn: true, TrimZeroes: true})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := Run(ctx, dial, j, someLoad(volatiledisk.Export)); err != nil {
		t.Fatal(err)
	}
	c := j.Counts()
	if c.Submitted == 0 || c.Submitted != c.Acknowledged {
		t.Errorf("%+v", c)
	}
	e, err := Open(context.Background(), dial, volatiledisk.Export)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.Size() != 128*SectorSize || !e.Promises().MultiConn {
		t.Errorf("size %d, %+v", e.Size(), e.Promises())
	}
	if r, err := j.Check(e); err != nil || r.Lost > 0 || r.Kept == 0 {
		t.Errorf("%v, %v", err, r)
	}
}

// An error reply is nobody's power cut.
func TestErrorsAreNotTakenForCuts(t *testing.T) {
	d, dial := serveDisk(t, 128)
	for _, tc := range []struct {
		name, export string
		sectors      int
		want         string
	}{
		{"another export", "other", 128, "refuses export"},
		{"a journal that is too large", volatiledisk.Export, 129, "too few for the journal's 129"},
		{"a disk that fails", volatiledisk.Export, 128, "the server answers EIO to"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if strings.Contains(tc.want, "EIO") {
				d.PullPlug()
				d.Close()
			}
			err := Run(context.Background(), dial, NewJournal(1, tc.sectors, Rules{}), someLoad(tc.export))
			if err == nil || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// A server that answers what nobody asked is wrong, one that hangs up is gone.
func TestBrokenProtocolIsNotTakenForACut(t *testing.T) {
	reply := func(magic uint32, cookie uint64) []byte {
		b := binary.BigEndian.AppendUint32(nil, magic)
		b = binary.BigEndian.AppendUint32(b, 0)
		return binary.BigEndian.AppendUint64(b, cookie)
	}
	for _, tc := range []struct {
		name  string
		reply []byte
		gone  bool
	}{
		{"another magic", reply(nbdtest.MagicStructuredReply, 0), false},
		{"a cookie that is not in flight", reply(nbdtest.MagicSimpleReply, 77), false},
		{"half a reply", reply(nbdtest.MagicSimpleReply, 0)[:9], true},
		{"nothing", nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			near, far := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				// It takes what comes, and answers the first request.
				got := make([]byte, nbdtest.RequestSize)
				_, _ = io.ReadFull(far, got)
				_, _ = far.Write(tc.reply)
				far.Close()
			}()
			c := newClient(near)
			l := someLoad("")
			l.Depth, l.Mix = 1, Mix{Choices: []Choice{{Weight: 1, Kind: Flush}}}
			err := newWorker(c, NewJournal(1, 8, Rules{}), &l, 0).run(context.Background())
			<-done
			if err == nil || errors.Is(err, ErrGone) != tc.gone || errors.Is(err, errDesync) == tc.gone {
				t.Errorf("%v", err)
			}
		})
	}
}
