package status

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape asks a MetricsHandler over TCP, as Prometheus does, and reads the
// answer with Prometheus' own parser.
func scrape(t *testing.T, src Source) map[string]*dto.MetricFamily {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(l, MetricsHandler(src), quiet())
	defer s.Close(context.Background())
	defer http.DefaultClient.CloseIdleConnections()
	get := func(path string) (int, []byte) {
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, text
	}
	for _, path := range []string{"/", "/status", "/devices/disk.img/commands"} {
		if code, _ := get(path); code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, code)
		}
	}
	code, text := get("/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", code, text)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "scstuser_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value finds one metric by its labels: "name value name value".
func value(t *testing.T, families map[string]*dto.MetricFamily, name, labels string) *dto.Metric {
	t.Helper()
	f := families["scstuser_"+name]
	if f == nil {
		t.Fatalf("there is no %s", name)
	}
	for _, m := range f.Metric {
		var words []string
		for _, l := range m.Label {
			words = append(words, l.GetName(), l.GetValue())
		}
		if strings.Join(words, " ") == labels {
			return m
		}
	}
	t.Fatalf("there is no %s with %q: %v", name, labels, f.Metric)
	return nil
}

func TestMetrics(t *testing.T) {
	r := newRig(t, "disk.img")
	r.script()
	r.hold = true
	r.do(scsiRead)
	f := scrape(t, r)
	for _, want := range []struct {
		name, labels string
		value        float64
	}{
		{"commands_total", "device disk.img opcode WRITE(16) result good sense_key ", 3},
		{"commands_total", "device disk.img opcode TEST UNIT READY result check_condition sense_key illegal_request", 1},
		{"read_bytes_total", "device disk.img", 4096},
		{"written_bytes_total", "device disk.img", 3 * 4096},
		{"buffers_asked_total", "device disk.img subcommand ALLOC_MEM", 1},
		{"buffers_asked_total", "device disk.img subcommand EXEC", 0},
		{"alloc_mem_avoided_total", "device disk.img", 4},
		{"ucmds_unjammed_total", "device disk.img", 0},
		{"device_failed_commands_total", "device disk.img kind read", 3},
		{"device_failed_commands_total", "device disk.img kind write", 0},
		{"task_management_functions_total", "device disk.img function lun_reset outcome success", 1},
		{"pool_hits_total", "device disk.img pool disk.img", 4},
	} {
		m := value(t, f, want.name, want.labels)
		if m.Counter == nil || m.Counter.GetValue() != want.value {
			t.Errorf("%s %s: %v, want a counter of %v", want.name, want.labels, m, want.value)
		}
	}
	for _, want := range []struct {
		name, labels string
		value        float64
	}{
		{"device_fault", "device disk.img kind read", 0}, {"device_fault", "device disk.img kind lost", 1},
		{"commands_in_flight", "device disk.img", 1}, {"sessions", "device disk.img", 1}, {"ucmds", "device disk.img", 2},
		{"device_size_bytes", "device disk.img", 64 << 20}, {"connections", "", 2}, {"connections_limit", "", 128},
		{"build_info", "program fileio_tgt version v1 (test)", 1}, {"pool_bytes", "device disk.img pool disk.img", 4096},
	} {
		m := value(t, f, want.name, want.labels)
		if m.Gauge == nil || m.Gauge.GetValue() != want.value {
			t.Errorf("%s %s: %v, want a gauge of %v", want.name, want.labels, m, want.value)
		}
	}
	if f["go_goroutines"] == nil || f["process_open_fds"] == nil {
		t.Error("the usual metrics of a process are missing")
	}
}

// Buckets are in seconds and include those before them; what is above the last
// one is in the total only.
func TestMetricsHistogram(t *testing.T) {
	l := Latency{Count: 6, Sum: 90_000_000, Buckets: make([]uint64, 28)}
	l.Buckets[0], l.Buckets[2], l.Buckets[27] = 2, 3, 1
	var m dto.Metric
	if err := l.metric("d", "read").Write(&m); err != nil {
		t.Fatal(err)
	}
	h := m.GetHistogram()
	if h.GetSampleCount() != 6 || h.GetSampleSum() != 90 || len(h.Bucket) != 27 {
		t.Errorf("%d samples, sum %v, %d buckets", h.GetSampleCount(), h.GetSampleSum(), len(h.Bucket))
	}
	for i, want := range []struct {
		le float64
		n  uint64
	}{{1e-6, 2}, {2e-6, 2}, {4e-6, 5}, {8e-6, 5}} {
		if b := h.Bucket[i]; b.GetUpperBound() != want.le || b.GetCumulativeCount() != want.n {
			t.Errorf("bucket %d: %v, want %d up to %v", i, b, want.n, want.le)
		}
	}
	if n := h.Bucket[26].GetCumulativeCount(); n != 5 {
		t.Errorf("the last bucket has %d, want 5", n)
	}
}

// Neither names of clients nor operation codes without end make time series.
func TestMetricsCardinality(t *testing.T) {
	s := &Snapshot{Devices: []Device{{Name: "d\xff", Pools: []Pool{{Name: "p\xff"}}}}}
	d := &s.Devices[0]
	for i := range 256 {
		d.Counters.Commands = append(d.Counters.Commands, CommandCount{Opcode: uint8(i), Name: opcodeName(i), Result: "GOOD", Count: 1})
	}
	for range 1000 {
		d.Sessions = append(d.Sessions, Session{Initiator: "somebody"})
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{fixed{s}})
	if n, err := testutil.GatherAndCount(reg, "scstuser_commands_total"); err != nil || n > 60 {
		t.Errorf("%d series of commands, %v", n, err)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n > 100 {
		t.Errorf("%d series, %v", n, err)
	}
}
