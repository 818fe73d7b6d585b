package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"scstuser/internal/proc"
)

// fio is the Client that runs fio with its nbd engine.
type fio struct{ version string }

var _ Client = (*fio)(nil)

// newFio looks for fio.
func newFio(ctx context.Context) (*fio, error) {
	if err := proc.FindTool("fio"); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "fio", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("fio --version: %w", err)
	}
	return &fio{version: strings.TrimSpace(string(out))}, nil
}

// Name implements Client.
func (f *fio) Name() string { return f.version }

// Run implements Client.
func (f *fio) Run(ctx context.Context, e proc.Endpoint, size int64, p Point, d time.Duration) (Measurement, error) {
	cmd := exec.CommandContext(ctx, "fio", fioArgs(e.URI(""), size, p, d)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return Measurement{}, fmt.Errorf("fio: %w\n%s%s", err, stdout.Bytes(), stderr.Bytes())
	}
	return parseFio(stdout.Bytes(), p.Write)
}

// fioArgs is the command line for one run. The jobs are threads, so that
// killing the one process ends them all.
func fioArgs(uri string, size int64, p Point, d time.Duration) []string {
	rw := "read"
	if p.Write {
		rw = "write"
	}
	if p.Random {
		rw = "rand" + rw
	}
	return []string{
		"--name=" + p.Name,
		"--ioengine=nbd",
		"--uri=" + uri,
		"--thread",
		"--rw=" + rw,
		"--bs=" + strconv.Itoa(p.BlockSize),
		"--iodepth=" + strconv.Itoa(p.Depth),
		"--numjobs=" + strconv.Itoa(p.Jobs),
		"--size=" + strconv.FormatInt(size, 10),
		"--norandommap",
		"--time_based",
		"--runtime=" + strconv.FormatInt(d.Milliseconds(), 10) + "ms",
		"--group_reporting",
		"--percentile_list=99",
		"--output-format=json",
	}
}

// fioReport is what we read of fio's JSON.
type fioReport struct {
	Jobs []struct {
		Error int          `json:"error"`
		Read  fioDirection `json:"read"`
		Write fioDirection `json:"write"`
	} `json:"jobs"`
}

// fioDirection is what fio counts for the reads or the writes of a group.
type fioDirection struct {
	TotalIOs int64   `json:"total_ios"`
	IOPS     float64 `json:"iops"`
	Bytes    float64 `json:"bw_bytes"`
	Latency  struct {
		Percentile map[string]int64 `json:"percentile"`
	} `json:"clat_ns"`
}

// parseFio reads fio's output for one group of jobs. fio prints notes of its
// engines in front of the JSON.
func parseFio(out []byte, write bool) (Measurement, error) {
	start := bytes.IndexByte(out, '{')
	if start < 0 {
		return Measurement{}, fmt.Errorf("fio printed no JSON: %q", out)
	}
	var report fioReport
	if err := json.Unmarshal(out[start:], &report); err != nil {
		return Measurement{}, fmt.Errorf("read fio's JSON: %w", err)
	}
	if len(report.Jobs) != 1 {
		return Measurement{}, fmt.Errorf("fio reports %d groups of jobs, want 1", len(report.Jobs))
	}
	job := report.Jobs[0]
	if job.Error != 0 {
		return Measurement{}, fmt.Errorf("fio reports error %d", job.Error)
	}
	d := job.Read
	if write {
		d = job.Write
	}
	p99, ok := d.Latency.Percentile["99.000000"]
	if d.TotalIOs == 0 || !ok {
		return Measurement{}, errors.New("fio completed no request")
	}
	return Measurement{
		Requests:       d.TotalIOs,
		IOPS:           d.IOPS,
		BytesPerSecond: d.Bytes,
		P99:            time.Duration(p99),
	}, nil
}
