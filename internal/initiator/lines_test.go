package initiator

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"scstuser/ioctl/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newHost is a host without devices, closed with the test.
func newHost(t *testing.T) *node.Host {
	log := logrus.New()
	log.SetOutput(io.Discard)
	h := node.New(node.Options{Log: log})
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// What can't be done is answered with 0 and the reason, and the next line is
// done all the same. What a session does is tested by the rules of the interface.
func TestServeRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                  "an empty line",
		"nonsense":          `no such line: "nonsense"`,
		"attach":            "no such line",
		"attach a b":        "no such line",
		"submit 1 1 0":      "no such line",
		"attach disk1":      "there is no device disk1",
		"submit 1 1 0 88 0": "attach first",
		"released":          "attach first",
	} {
		t.Run(line, func(t *testing.T) {
			var out bytes.Buffer
			err := New(newHost(t)).Serve(strings.NewReader(line+"\nattach disk2\n"), &out)
			answers := strings.Split(out.String(), "\n")
			if err == nil || len(answers) != 3 || !strings.HasPrefix(answers[0], "0 ") || !strings.Contains(answers[0], want) {
				t.Errorf("%q: %q, %v; want 0 and %q", line, out.String(), err, want)
			}
			if len(answers) > 1 && !strings.Contains(answers[1], "there is no device disk2") {
				t.Errorf("the next line: %q", answers[1])
			}
		})
	}
}

// Numbers that are none, and names of nothing, are refused; nothing panics.
func FuzzLines(f *testing.F) {
	for _, seed := range []string{"submit x 1 0 88", "over 7", "outcome", "tm a b c", "events -1", "deliver 9999999999999999999", "attach \x00"} {
		f.Add(seed)
	}
	h := node.New(node.Options{})
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") {
			t.Skip()
		}
		if answer, err := New(h).Do(line); err == nil {
			t.Errorf("%q without a device: %q", line, answer)
		}
	})
}
