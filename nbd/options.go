package nbd

import (
	"time"

	"github.com/sirupsen/logrus"
)

// Options are a Server's settings.
type Options struct {
	// Handshake bounds negotiation.
	Handshake Limits
	// TLS says whether and how clients may use TLS. Default: not.
	TLS TLSOptions
	// Allow says who is served. Default: everybody.
	Allow *AllowList
	// KeepAlive is after how long a silent TCP client is probed; one that does
	// not answer is given up after as long again. Default 30 s; less than 0:
	// never.
	KeepAlive time.Duration
	// IdleTimeout is how long a client that has chosen its export may be
	// silent while nothing of it is in work. Default 0: for ever.
	IdleTimeout time.Duration
	// MaxConnections is how many clients are served at a time, those that
	// negotiate included; more wait to be greeted. Default 1024.
	MaxConnections int
	// MaxInflight is how many requests of one connection are worked on at a
	// time; more stay in the socket. Default 256.
	MaxInflight int
	// MaxInflightBytes bounds the payloads of those, in bytes; one request
	// of any permitted size always fits. Default 8 MiB.
	MaxInflightBytes int64
	// MaxPayload is the longest READ or WRITE, in bytes; an export may have
	// to stay below it. Default 32 MiB, at most 1 GiB.
	MaxPayload uint32
	// Linger is how long a shutdown goes on answering new commands with
	// ESHUTDOWN before it hangs up. Default 200 ms.
	Linger time.Duration
	// Farewell is what a shutdown does with new commands. Default: it answers
	// them with ESHUTDOWN.
	Farewell Farewell
	// Grace is how long a shutdown lets a client finish the payload that it
	// is sending, and take the replies that it is owed. Default 5 s.
	Grace time.Duration
	// Log is where the server reports; logrus.StandardLogger() if nil.
	Log *logrus.Logger
}

// EnsureDefaults fills in what was left zero (or less).
func (o *Options) EnsureDefaults() {
	o.Handshake.EnsureDefaults()
	if o.KeepAlive == 0 {
		o.KeepAlive = 30 * time.Second
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 1024
	}
	if o.MaxInflight <= 0 {
		o.MaxInflight = 256
	}
	if o.MaxInflightBytes <= 0 {
		o.MaxInflightBytes = 8 << 20
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = 32 << 20
	}
	o.MaxPayload = min(o.MaxPayload, 1<<30) // a SCSI buffer has 31 bits
	if o.Linger <= 0 {
		o.Linger = 200 * time.Millisecond
	}
	if o.Grace <= 0 {
		o.Grace = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = logrus.StandardLogger()
	}
}
