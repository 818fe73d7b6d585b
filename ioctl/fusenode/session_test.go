package fusenode

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"scstuser/internal/initiator"
	"scstuser/ioctl/node"
	"scstuser/ucmd"
)

// maxUcmds is MAX_UCMDS of testdata/session.h: room enough for what the other
// tests do at a time.
const maxUcmds = 8

// The rules that need an initiator which is more than a file, as a C program
// meets them.
func TestRulesWithASession(t *testing.T) {
	needFUSE(t)
	if rules == "" {
		t.Skip("NOT TESTED: no C compiler (cc) here")
	}
	names, err := run(t, rules, "", "-sessions")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(names) {
		t.Run(name, func(t *testing.T) {
			dir, h := mountedWith(t, node.Options{Limits: ucmd.Limits{MaxUcmds: maxUcmds}, Log: quiet()})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, rules, dir, name)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			// The program goes on when what it says has been done.
			if err := initiator.New(h).Serve(out, in); err != nil {
				t.Error(err)
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, stderr.String())
			}
		})
	}
}
