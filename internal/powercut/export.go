package powercut

import (
	"context"
	"fmt"
	"io"

	"scstuser/nbd/nbdtest"
)

// Export is an export that is read, for Check. It is an io.ReaderAt for one
// goroutine.
type Export struct{ c *client }

// Open connects to an export. Close ends it.
func Open(ctx context.Context, dial Dialer, export string) (*Export, error) {
	c, err := connect(ctx, dial, export)
	if err != nil {
		return nil, err
	}
	return &Export{c}, nil
}

// ReadAt reads len(b) bytes at off, all or with an error.
func (e *Export) ReadAt(b []byte, off int64) (int, error) {
	e.c.begin(nbdtest.CmdRead, 0, 1, uint64(off), len(b), 0)
	if err := e.c.send(); err != nil {
		return 0, err
	}
	_, errno, err := e.c.reply()
	switch {
	case err != nil:
		return 0, err
	case errno != nbdtest.OK:
		return 0, fmt.Errorf("the server answers %v", errno)
	}
	return io.ReadFull(e.c.r, b)
}

// Size is the export's size in bytes.
func (e *Export) Size() int64 { return int64(e.c.size) }

// Promises are the rules that the export's flags stand for. What else it
// promises, no flag tells.
func (e *Export) Promises() Rules {
	return Rules{MultiConn: e.c.flags&nbdtest.FlagCanMultiConn != 0}
}

// Close says goodbye.
func (e *Export) Close() { e.c.close() }
