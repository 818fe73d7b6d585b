package abi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/abi/internal/layout"
	"scstuser/ucmd"
)

// facts is testdata/ioctl/abi.json: what a C compiler said about the original.
type facts struct {
	Structs map[string]struct {
		Sizeof, Alignof int
		Fields          map[string]struct{ Offset, Size int }
	}
	PayloadLen map[string]int `json:"payload_len"`
	Constants  map[string]int64
	Ioctl      map[string]struct{} `json:"ioctl_decode"`
	Strings    map[string]string
	VersionLen int `json:"sizeof_DEV_USER_VERSION"`
}

func readFacts(t *testing.T) (f facts) {
	t.Helper()
	b, err := os.ReadFile("../../testdata/ioctl/abi.json")
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// R3: sizes, alignments and offsets, both ways: nothing of the interface is
// missing here and nothing here is not of the interface.
func TestR3LayoutIsTheCompilers(t *testing.T) {
	want := readFacts(t).Structs
	for _, l := range layout.Compute() {
		w, ok := want[l.Name]
		if !ok {
			t.Errorf("%s: not in abi.json", l.Name)
			continue
		}
		delete(want, l.Name)
		if l.Size != w.Sizeof || l.Align != w.Alignof {
			t.Errorf("%s: size %d align %d, want %d and %d", l.Name, l.Size, l.Align, w.Sizeof, w.Alignof)
		}
		for _, p := range l.Placed {
			f, ok := w.Fields[p.Name]
			if !ok || p.Off != f.Offset || p.Size != f.Size {
				t.Errorf("%s.%s: offset %d size %d, want %+v (there: %v)", l.Name, p.Name, p.Off, p.Size, f, ok)
			}
			delete(w.Fields, p.Name)
		}
		for n := range w.Fields {
			t.Errorf("%s.%s is missing in the tables", l.Name, n)
		}
	}
	for n := range want {
		t.Errorf("%s is missing in the tables", n)
	}
}

// R1, R2: numbers by the table's parts, by abi.json and by the Go constants.
func TestR1R2Numbers(t *testing.T) {
	f := readFacts(t)
	layouts := layout.Compute()
	for _, i := range layout.Ioctls {
		n := i.Number(layouts)
		if int64(n) != f.Constants[i.Name] {
			t.Errorf("%s is %#x, want %#x", i.Name, n, f.Constants[i.Name])
		}
		x := abi.Ioctl(n)
		if !x.Known() || "SCST_USER_"+x.String() != i.Name || x.Nr() != i.Nr {
			t.Errorf("%s: Go calls %#x %v", i.Name, n, x)
		}
		dir := map[string]int{"": abi.DirNone, "W": abi.DirWrite, "R": abi.DirRead, "WR": abi.DirWrite | abi.DirRead}[i.Dir]
		if x.Dir() != dir {
			t.Errorf("%s: direction %d, want %d", i.Name, x.Dir(), dir)
		}
		delete(f.Ioctl, i.Name)
	}
	for _, i := range layout.Subcodes {
		n := i.Number(layouts)
		if int64(n) != f.Constants[i.Name] {
			t.Errorf("%s is %#x, want %#x", i.Name, n, f.Constants[i.Name])
		}
		x := abi.Subcode(n)
		short := strings.TrimPrefix(i.Name, "SCST_USER_")
		if x.String() != short || int(x.Code()) != i.Nr || abi.SubcodeOf(ucmd.Subcode(i.Nr)) != x {
			t.Errorf("%s: Go calls %#x %v, code %#x", i.Name, n, x, x.Code())
		}
		if got := x.GetLen(); got != f.PayloadLen[short] { // R4
			t.Errorf("%s: %d bytes are copied out, want %d", short, got, f.PayloadLen[short])
		}
		delete(f.Ioctl, i.Name)
	}
	for n := range f.Ioctl {
		t.Errorf("%s is missing in the tables", n)
	}
}

func TestConstantsAreTheInterfaces(t *testing.T) {
	f := readFacts(t)
	for _, c := range layout.Consts {
		if v, ok := f.Constants[c.Name]; !ok || v != c.Value {
			t.Errorf("%s is %d, want %d (there: %v)", c.Name, c.Value, v, ok)
		}
	}
	if f.Strings["DEV_USER_VERSION"] != abi.Version || layout.Version != abi.Version || f.VersionLen != abi.StringMax {
		t.Error("the version string differs")
	}
	if f.Constants["SCST_SENSE_BUFFERSIZE"] != abi.MaxSense {
		t.Error("MaxSense differs")
	}
	for name, v := range map[string]int64{"BACKGROUND": abi.ExecReplyBackground, "COMPLETED": abi.ExecReplyCompleted, "DO_WRITE_SAME": abi.ExecReplyDoWriteSame} {
		if f.Constants["SCST_EXEC_REPLY_"+name] != v {
			t.Errorf("reply type %s is %d", name, v)
		}
	}
}

func TestGeneratedFilesAreCurrent(t *testing.T) {
	src, err := layout.GoSource()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"structs_gen.go": src, "scst_user_abi.h": layout.Header()} {
		got, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the tables say (%v): run go generate", name, err)
		}
	}
}

// The header, compiled, agrees with the tables, which agree with the original.
func TestHeaderByCompiler(t *testing.T) {
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc here")
	}
	var prog, want strings.Builder
	prog.WriteString("#include \"scst_user_abi.h\"\n#include <stddef.h>\n#include <stdio.h>\nint main(void)\n{\n")
	line := func(label, expr string, v int64) {
		fmt.Fprintf(&prog, "\tprintf(\"%s %%lld\\n\", (long long)(%s));\n", label, expr)
		fmt.Fprintf(&want, "%s %d\n", label, v)
	}
	layouts := layout.Compute()
	for _, l := range layouts {
		typ := "struct " + l.Name
		if l.Union {
			typ = "union " + l.Name
		}
		line(l.Name, "sizeof("+typ+")", int64(l.Size))
		line(l.Name+" align", "_Alignof("+typ+")", int64(l.Align))
		for _, p := range l.Placed {
			line(l.Name+"."+p.Name, fmt.Sprintf("offsetof(%s, %s)", typ, p.Name), int64(p.Off))
			if !p.Flex {
				line(l.Name+"."+p.Name+" size", fmt.Sprintf("sizeof(((%s *)0)->%s)", typ, p.Name), int64(p.Size))
			}
		}
	}
	for _, i := range append(append([]layout.Ioctl{}, layout.Ioctls...), layout.Subcodes...) {
		line(i.Name, i.Name, int64(i.Number(layouts)))
	}
	for _, c := range layout.Consts {
		line(c.Name, c.Name, c.Value)
	}
	line("version", "sizeof(DEV_USER_VERSION)", int64(abi.StringMax))
	prog.WriteString("\treturn 0;\n}\n")

	dir := t.TempDir()
	src, bin := filepath.Join(dir, "main.c"), filepath.Join(dir, "main")
	if err := os.WriteFile(src, []byte(prog.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(cc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-D_DEFAULT_SOURCE", "-I.", "-o", bin, src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := exec.Command(bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(want.String(), "\n")
	if len(g) != len(w) {
		t.Fatalf("%d lines, want %d", len(g), len(w))
	}
	for i := range w {
		if g[i] != w[i] {
			t.Errorf("C says %q, the tables %q", g[i], w[i])
		}
	}
}
