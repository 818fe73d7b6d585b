package main

import (
	"context"
	"net"
	"time"

	"scstuser/internal/proc"
	"scstuser/nbd/nbdload"
)

// load is the Client that leaves the server as much of the machine as it can.
type load struct{}

var _ Client = load{}

// Name implements Client.
func (load) Name() string { return "nbdload" }

// Run implements Client.
func (load) Run(ctx context.Context, e proc.Endpoint, _ int64, p Point, d time.Duration) (Measurement, error) {
	dial := func(ctx context.Context) (net.Conn, error) { return e.Dial(ctx) }
	r, err := nbdload.Run(ctx, dial, nbdload.Load{
		Connections: p.Jobs, Depth: p.Depth, BlockSize: p.BlockSize,
		Write: p.Write, Random: p.Random, Duration: d,
	})
	if err != nil {
		return Measurement{}, err
	}
	seconds := r.Elapsed.Seconds()
	return Measurement{
		Requests: r.Requests, IOPS: float64(r.Requests) / seconds,
		BytesPerSecond: float64(r.Requests) * float64(p.BlockSize) / seconds,
		P99:            r.Latency.Percentile(99),
	}, nil
}
