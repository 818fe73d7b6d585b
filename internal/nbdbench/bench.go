package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"scstuser/internal/sample"
)

// measure does everything: it starts the servers, checks them, runs the rounds
// with each client and stops the servers. There is a result for each client.
func measure(ctx context.Context, s settings, progress io.Writer) (results []*Result, err error) {
	clients, err := s.newClients(ctx)
	if err != nil {
		return nil, err
	}
	rig, err := newRig(ctx, s, progress)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rig.close()) }()

	fmt.Fprintln(progress, "comparing what every server returns with the image")
	if err := rig.check(ctx); err != nil {
		return nil, err
	}
	runs := s.rounds * len(s.points) * len(rig.contenders) * len(clients)
	fmt.Fprintf(progress, "%d measurements, at least %v\n", runs, time.Duration(runs)*s.time)
	for _, client := range clients {
		result := newResult(s, client.Name(), rig)
		if err := runRounds(ctx, s, rig, client, result, progress); err != nil {
			return nil, err
		}
		if result.PeakRSS, err = rig.peakRSS(); err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// runRounds measures every point on every server, as often as asked.
func runRounds(ctx context.Context, s settings, rig *rig, client Client, result *Result, progress io.Writer) error {
	for round := range s.rounds {
		for i, p := range s.points {
			for _, c := range rotated(rig.contenders, round+i) {
				sample, err := measureOne(ctx, client, c, p, s)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, p.Title(), err)
				}
				result.add(p, c.name, sample)
				fmt.Fprintf(progress, "%s round %d/%d  %-9s %-18s %s\n",
					client.Name(), round+1, s.rounds, p.Name, c.name, rateText(p, rate(p, sample)))
			}
		}
	}
	return nil
}

// measureOne takes one sample.
func measureOne(ctx context.Context, client Client, c *contender, p Point, s settings) (Sample, error) {
	server := c.serverFor(p)
	before, err := server.Usage()
	if err != nil {
		return Sample{}, err
	}
	m, err := client.Run(ctx, server.Endpoint(0), s.imageSize, p, s.time)
	if err != nil {
		return Sample{}, err
	}
	after, err := server.Usage()
	if err != nil {
		return Sample{}, err
	}
	return Sample{Measurement: m, ServerCPU: after.CPU - before.CPU}, nil
}

// rotated returns list with its first n elements moved to the end, n counted
// around.
func rotated[T any](list []T, n int) []T {
	n %= len(list)
	return append(append(make([]T, 0, len(list)), list[n:]...), list[:n]...)
}

// rate is the sample's rate in the unit of the point's column: thousands of
// requests, or MiB, per second.
func rate(p Point, s Sample) float64 {
	if p.perSecond() {
		return s.IOPS / 1000
	}
	return s.BytesPerSecond / (1 << 20)
}

// rateUnit is the unit of rate.
func rateUnit(p Point) string {
	if p.perSecond() {
		return "kIOPS"
	}
	return "MiB/s"
}

// rateText is a rate with its unit.
func rateText(p Point, value float64) string {
	return sample.Format(value) + " " + rateUnit(p)
}

// micros is a duration in microseconds.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
