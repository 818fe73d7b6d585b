package main

import (
	"context"
	"time"

	"scstuser/internal/proc"
)

// Client is a load generator: it puts a load on a server and measures what
// comes back.
type Client interface {
	// Name is what the tables call it, with its version.
	Name() string
	// Run connects to the default export at e, which is size bytes long, puts
	// the load of p on it for d, and disconnects. It is an error if any request
	// fails.
	Run(ctx context.Context, e proc.Endpoint, size int64, p Point, d time.Duration) (Measurement, error)
}

// Measurement is what a client has counted in one run.
type Measurement struct {
	// Requests is how many were completed.
	Requests int64 `json:"requests"`
	// IOPS is how many were completed per second.
	IOPS float64 `json:"iops"`
	// BytesPerSecond is the payload moved per second.
	BytesPerSecond float64 `json:"bytes_per_second"`
	// P99 is the latency that 99 of 100 requests stay below, in nanoseconds.
	P99 time.Duration `json:"p99_ns"`
}

// Sample is one measurement of one server at one point.
type Sample struct {
	Measurement
	// ServerCPU is the time that all threads of the server spent meanwhile,
	// in nanoseconds.
	ServerCPU time.Duration `json:"server_cpu_ns"`
}

// CPUPerRequest is the server's time for one request.
func (s Sample) CPUPerRequest() time.Duration {
	if s.Requests == 0 {
		return 0
	}
	return s.ServerCPU / time.Duration(s.Requests)
}
