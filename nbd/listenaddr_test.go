package nbd

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseListen(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want ListenAddr
	}{
		{"unix:/run/x.sock", ListenAddr{"unix", "/run/x.sock"}},
		{"unix:x.sock", ListenAddr{"unix", "x.sock"}},
		{"unix:/a path/with:colon", ListenAddr{"unix", "/a path/with:colon"}},
		{"unix:" + strings.Repeat("x", 107), ListenAddr{"unix", strings.Repeat("x", 107)}},
		{"tcp:127.0.0.1:10809", ListenAddr{"tcp", "127.0.0.1:10809"}},
		{"tcp:localhost:0", ListenAddr{"tcp", "localhost:0"}},
		{"tcp:[::1]:10809", ListenAddr{"tcp", "[::1]:10809"}},
		{"tcp:[fe80::1%eth0]:10809", ListenAddr{"tcp", "[fe80::1%eth0]:10809"}},
		{"tcp::10809", ListenAddr{"tcp", ":10809"}},
		{"host.example:65535", ListenAddr{"tcp", "host.example:65535"}},
		{"[::]:10809", ListenAddr{"tcp", "[::]:10809"}},
		{":10809", ListenAddr{"tcp", ":10809"}},
	} {
		t.Run(tc.in, func(t *testing.T) {
			got, err := ParseListen(tc.in)
			if err != nil || got != tc.want {
				t.Fatalf("%+v, %v", got, err)
			}
			if again, err := ParseListen(got.String()); err != nil || again != got {
				t.Errorf("its String %q parses as %+v, %v", got, again, err)
			}
		})
	}
}

func TestParseListenSaysWhatIsRight(t *testing.T) {
	for _, tc := range []struct{ in, hint string }{
		{"", "write unix:/path or tcp:host:port"},
		{"/run/x.sock", "write unix:/run/x.sock"},
		{"./x.sock", "write unix:./x.sock"},
		{"nbd://localhost:10809", "is a URI"},
		{"unix:", "has no path"},
		{"unix:@abstract", "abstract"},
		{"unix:a\x00b", "NUL"},
		{"unix:/" + strings.Repeat("x", 107), "108 bytes long; the system allows 107"},
		{"10809", "tcp:127.0.0.1:10809"},
		{"tcp:10809", "tcp::10809"},
		{"localhost", "write tcp:localhost:10809"},
		{"tcp:localhost", "write tcp:localhost:10809"},
		{"tcp:[::1]", "write tcp:[::1]:10809"},
		{"::1:10809", "brackets"},
		{"tcp:::1", "brackets"},
		{"tcp:[::1", "write tcp:host:port"},
		{"localhost:nbd", "not a number from 0 to 65535"},
		{"localhost:65536", "not a number from 0 to 65535"},
		{"localhost:-1", "not a number from 0 to 65535"},
		{"localhost:", "not a number from 0 to 65535"},
		{"tcp:/run/x:1", "not a host name"},
	} {
		t.Run(tc.in, func(t *testing.T) {
			a, err := ParseListen(tc.in)
			if err == nil {
				t.Fatalf("accepted as %+v", a)
			}
			if !strings.Contains(err.Error(), tc.hint) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q does not say %q in one line", err, tc.hint)
			}
		})
	}
}

func TestListenURI(t *testing.T) {
	for _, tc := range []struct{ listen, export, want string }{
		{"tcp:127.0.0.1:10809", "image.img", "nbd://127.0.0.1:10809/image.img"},
		{"tcp:localhost:1", "", "nbd://localhost:1/"},
		{"tcp:[::1]:10809", "a", "nbd://[::1]:10809/a"},
		{"tcp:[fe80::1%eth0]:10809", "a", "nbd://[fe80::1%25eth0]:10809/a"},
		{"tcp:0.0.0.0:10809", "a", "nbd://localhost:10809/a"},
		{"tcp:[::]:10809", "a", "nbd://localhost:10809/a"},
		{"tcp::10809", "a", "nbd://localhost:10809/a"},
		{"unix:/run/x.sock", "image.img", "nbd+unix:///image.img?socket=/run/x.sock"},
		{"unix:/run/x.sock", "", "nbd+unix:///?socket=/run/x.sock"},
		{"unix:/a b/x&y?.sock", "my disk; rm $HOME/*", "nbd+unix:///my%20disk%3B%20rm%20%24HOME/%2A?socket=/a%20b/x%26y%3F.sock"},
		{"tcp:h:1", "100% größe#1", "nbd://h:1/100%25%20gr%C3%B6%C3%9Fe%231"},
		{"tcp:h:1", "/absolute", "nbd://h:1//absolute"},
	} {
		a, err := ParseListen(tc.listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.URI(tc.export); got != tc.want {
			t.Errorf("%s, export %q:\n%s, want\n%s", tc.listen, tc.export, got, tc.want)
		}
	}
}

// Whatever the names, they come out of the URI as they went in.
func TestListenURIRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		export := rapid.String().Draw(t, "export")
		path := rapid.StringN(1, 20, 100).Draw(t, "path")
		u, err := url.Parse(ListenAddr{"unix", path}.URI(export))
		if err != nil {
			t.Fatal(err)
		}
		if u.Scheme != "nbd+unix" || u.Host != "" || u.Path != "/"+export || u.Query().Get("socket") != path {
			t.Errorf("%v", u)
		}
		u, err = url.Parse(ListenAddr{"tcp", "[::1]:10809"}.URI(export))
		if err != nil {
			t.Fatal(err)
		}
		if u.Scheme != "nbd" || u.Host != "[::1]:10809" || u.Path != "/"+export || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%v", u)
		}
	})
}

func FuzzParseListen(f *testing.F) {
	for _, s := range []string{"unix:/x", "tcp:[::1]:1", "a:2", ":::", "[", "tcp:", "unix:", "tcp:[fe80::1%25]:0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseListen(s)
		if err != nil {
			return
		}
		if again, err := ParseListen(a.String()); err != nil || again != a {
			t.Errorf("%q parses as %+v, whose String as %+v, %v", s, a, again, err)
		}
	})
}
