package ucmd

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	ucmdAddress = regexp.MustCompile(`ucmd [0-9a-f]{16} `)
	cmdAddress  = regexp.MustCompile(`scst_cmd [0-9a-f]{16}`)
)

// maskAddresses replaces what differs by nature: the module names things by
// address. All that matters is whether there is a command.
func maskAddresses(s string) string {
	s = ucmdAddress.ReplaceAllString(s, "ucmd ADDR ")
	return cmdAddress.ReplaceAllStringFunc(s, func(c string) string {
		if strings.Trim(c[len("scst_cmd "):], "0") == "" {
			return "scst_cmd NULL"
		}
		return "scst_cmd ADDR"
	})
}

// R73: the commands listing is the module's, line for line; the recorded lines
// are in testdata, each with the situation that it was taken in.
func TestR73ListingFormat(t *testing.T) {
	recorded := map[string]string{}
	file, err := os.ReadFile("../testdata/lifecycle/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(strings.TrimSpace(string(file)), "\n") {
		if name, line, ok := strings.Cut(l, ": "); ok && !strings.HasPrefix(l, "#") {
			recorded[name] = maskAddresses(line)
		}
	}
	listing := func(b *bench) []string {
		var w strings.Builder
		if err := b.dev.WriteCommands(&w); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(maskAddresses(w.String()), "\n"), "\n")
	}
	check := func(b *bench, names ...string) {
		t.Helper()
		got := listing(b)
		for i, n := range names {
			switch {
			case recorded[n] == "":
				t.Errorf("there is no recorded line %q", n)
			case i >= len(got) || got[i] != recorded[n]:
				t.Errorf("%s:\ngot  %v\nwant %s", n, got, recorded[n])
			}
		}
		if len(got) != len(names) {
			t.Errorf("%d lines, want %d: %v", len(got), len(names), got)
		}
	}

	b := newBareBench(t)
	at := b.attachAsync(b.fe)
	a := b.waitGet()
	check(b, "attach outstanding")
	b.reply(Reply{Handle: a.Handle, Code: a.Code})
	if err := <-at; err != nil {
		t.Fatal(err)
	}
	if got := listing(b); len(got) != 1 || got[0] != "" {
		t.Errorf("an empty device lists %q", got)
	}
	_, s := b.writeExec(8)
	check(b, "exec outstanding, owns its buffer")
	b.execDone(s)
	check(b, "idle buffer")
	c, s := b.writeExec(8)
	check(b, "idle buffer", "exec outstanding")
	b.fe.setHold(true)
	b.refused(Reply{Handle: s.Handle, Code: SubAllocMem}, errEINVAL)
	check(b, "idle buffer", "exec given up")
	b.fe.setHold(false)
	b.fe.deliver()
	b.ended(c, 2, senseLUN)
	if err := b.dev.FlushCache(); err != nil {
		t.Fatal(err)
	}
	check(b, "flushed")
	b.settleFree()
	b.close()
}

// The listing for people says whose the references are.
func TestCommandString(t *testing.T) {
	b := newBench(t)
	defer b.close()
	_, s := b.writeExec(8)
	l := b.dev.Commands()
	const want = "h=1 state 3 (EXECING), ref 2 (creation+sgv), sent_to_user 1, seen_by_user 1, aborted 0, jammed 0, scst_cmd 1, age 0s"
	if len(l) != 1 || ageless(l[0]).String() != want {
		t.Errorf("got %v, want %s", l, want)
	}
	b.execDone(s)
}

func TestNames(t *testing.T) {
	for s, want := range map[string]string{
		StateOnFreeSkipped.String(): "ON_FREE_SKIPPED", State(0x77).String(): "state 0x77",
		SubAttachSess.String(): "ATTACH_SESS", Subcode(0x77).String(): "subcode 0x77",
		OwnerBackground.String(): "background",
	} {
		if s != want {
			t.Errorf("got %s, want %s", s, want)
		}
	}
}
