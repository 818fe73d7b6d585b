package main

import (
	"os/user"
	"strings"
	"testing"
)

func TestWaysThatDoNotFit(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--tls on", "--tls on needs --tls_certificates DIR"},
		{"--tls require", "--tls require needs --tls_certificates DIR"},
		{"--tls maybe", "--tls maybe: must be off, on or require"},
		{"--tls_certificates /d", "of no use without --tls on"},
		{"--tls_verify_peer", "needs --tls require"},
		{"--tls on --tls_certificates /d --tls_verify_peer", "keep nobody out"},
		{"--allow localhost", `--allow: "localhost" is no address`},
		{"--allow 10.0.0.1/8", "write 10.0.0.0/8, or 10.0.0.1"},
		{"--keepalive 1", "--keepalive 1: must be a time from 2s"},
		{"--idle_timeout 100ms", "--idle_timeout 100ms: must be a time from 1s"},
		{"--listen vsock:x", "vsock:cid:port"},
		{"--listen stdin --listen stdin", "--listen stdin is there twice"},
		{"--socket_mode 0", "must be a number in octal"},
		{"--socket_mode 0888", "must be a number in octal"},
		{"--socket_mode 0444", "let at least the owner in"},
		{"--socket_mode 7777", "permissions in octal"},
	} {
		o := runWith(strings.Fields("-f img " + tc.args)...)
		if o.status != exitUsage || !strings.Contains(o.stderr, tc.want) || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: status %d, %q, want %q", tc.args, o.status, o.stderr, tc.want)
		}
	}
}

func TestLookupOwner(t *testing.T) {
	root, err := user.LookupId("0")
	if err != nil {
		t.Skip(err)
	}
	for text, want := range map[string][2]int{
		root.Username: {0, -1}, "0": {0, -1}, "0:0": {0, 0}, ":0": {-1, 0}, "4711:": {4711, -1},
	} {
		if uid, gid, err := lookupOwner(text); err != nil || uid != want[0] || gid != want[1] {
			t.Errorf("%s: %d, %d, %v", text, uid, gid, err)
		}
	}
	for _, text := range []string{"no-such-user-here", ":no-such-group-here", "-1", "99999999999"} {
		if _, _, err := lookupOwner(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
