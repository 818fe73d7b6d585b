package nbdtest

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

const allFlags = FlagHasFlags | FlagSendFlush | FlagSendFUA | FlagSendTrim | FlagSendWriteZeroes | FlagSendCache | FlagSendFastZero | FlagCanMultiConn

// diskExport is an export to which every check applies but those of read-only
// ones.
func diskExport() Expect {
	return Expect{
		Export: "disk", Size: 68 << 20, Flags: allFlags, Blocks: Blocks{Min: 512, Preferred: 4096, Max: 1 << 20},
		Exports: []string{"disk", "second"},
	}
}

func readOnlyExport() Expect {
	want := diskExport()
	want.Flags |= FlagReadOnly
	want.Size = 4 << 20
	return want
}

func dialer(srv *server, timeout time.Duration) func(testing.TB) *Conn {
	return func(t testing.TB) *Conn {
		c := Dial(t, "unix", srv.socket)
		c.Timeout = timeout
		return c
	}
}

func running(srv *server, timeout time.Duration) Running {
	return Running{Dial: dialer(srv, timeout), Stall: srv.hold, Shutdown: srv.shutdown, Stopped: srv.stopped, Socket: srv.socket}
}

// A server that does nothing wrong passes, whatever it offers.
func TestGoodServerPasses(t *testing.T) {
	for _, tc := range []struct {
		name string
		want Expect
	}{
		{"disk", diskExport()},
		{"read-only", readOnlyExport()},
		{"least", Expect{Export: "e", Size: 1 << 20, Flags: FlagHasFlags | FlagSendFUA, Blocks: Blocks{1, 512, math.MaxUint32}, Exports: []string{"e"}}},
		{"4096 byte blocks", Expect{Export: "e", Size: 40 << 20, Flags: allFlags, Blocks: Blocks{4096, 4096, 32 << 20}, Exports: []string{"e"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := startServer(t, tc.want, "")
			Conformance(t, dialer(srv, DefaultTimeout), tc.want)
		})
	}
	t.Run("shutdown", func(t *testing.T) {
		ConformanceShutdown(t, func(t testing.TB) Running { return running(startServer(t, diskExport(), ""), DefaultTimeout) }, diskExport())
	})
}

// Each wrong is found by the check that is there for it.
func TestBadServerFails(t *testing.T) {
	disk, readOnly := diskExport(), readOnlyExport()
	for _, tc := range []struct {
		fault, check string
		want         Expect
	}{
		{"accepts unknown client flags", "Row01UnknownClientFlagsAreRefused", disk},
		{"pads after NO_ZEROES", "Row02ExportName", disk},
		{"leaves the data of unknown options", "Row03UnknownOptionIsConsumed", disk},
		{"does not acknowledge ABORT", "Row05AbortIsAcknowledged", disk},
		{"packs all names into one reply", "Row06ListHasOneReplyForEachExport", disk},
		{"keeps an INFO's export for GO", "Row07GoOfUnknownExportAfterInfo", disk},
		{"reads past GO", "Row07RequestsMayFollowGoAtOnce", disk},
		{"offers DF without structured replies", "OfferedFlagsAreConsistent", disk},
		{"does not say that it is read-only", "Row07InfoAndGoAnswerAlike", readOnly},
		{"keeps 32 bits of a cookie", "Row12CookiesAreOpaque", disk},
		{"keeps writes to their connection", "Row12ConnectionsSeeEachOthersWrites", disk},
		{"refuses FUA where it means nothing", "Row13FUAIsAcceptedOnEveryCommand", disk},
		{"says success before a READ fails", "Row14RefusedReadHasNoData", disk},
		{"leaves the payload of a refused WRITE", "Row19RefusedWriteIsConsumed", disk},
		{"grows the export", "Row20PastTheEnd", disk},
		{"lets offset and length wrap", "Row20OffsetAndLengthDoNotWrap", disk},
		{"rounds what is unaligned", "Row20Unaligned", disk},
		{"ignores unknown flags", "Row20UnknownFlag", disk},
		{"writes to a read-only export", "Row21ReadOnly", readOnly},
		{"closes for long payloads", "Row22TooLongWriteIsSkipped", disk},
		{"limits lengths without payload", "Row22LengthWithoutPayload", disk},
		{"zeroes only whole pages", "Row23WriteZeroesReadsBackAsZeroes", disk},
		{"trims whole pages around", "Row23TrimLeavesNeighboursAlone", disk},
		{"reads a payload behind TRIM", "TrimHasNoPayload", disk},
		{"zeroes 64 MiB at most", "WriteZeroesAbove64MiB", disk},
		{"closes for no bytes", "Row24ZeroLength", disk},
		{"answers DISC", "Row25DiscHasNoReply", disk},
		{"drops what is outstanding at DISC", "Row25DiscFinishesWhatIsOutstanding", disk},
		{"goes on after DISC", "Row25NothingIsDoneAfterDisc", disk},
		{"does not look at the magic number", "GarbageEndsOnlyItsOwnConnection", disk},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			srv := startServer(t, tc.want, tc.fault)
			i := slices.IndexFunc(checks(), func(c check) bool { return c.name == tc.check })
			if c := checks()[i]; c.when == nil || c.when(tc.want) {
				expectFailure(t, func(tb testing.TB) {
					c.run(&suite{TB: tb, dial: dialer(srv, 300*time.Millisecond), want: tc.want})
				})
				return
			}
			t.Fatal("the check does not apply")
		})
	}
}

func TestBadShutdownFails(t *testing.T) {
	for _, tc := range []struct{ fault, check string }{
		{"drops what is in flight at shutdown", "Row26InFlightIsAnsweredAndNewIsRefused"},
		{"serves new commands during shutdown", "Row26InFlightIsAnsweredAndNewIsRefused"},
		{"haggles on during shutdown", "Row26HagglingClientsGetErrShutdown"},
		{"waits for stuck clients for ever", "Row26StuckClientsDoNotHoldIt"},
		{"leaves its socket behind", "Row26SocketIsRemoved"},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			for _, c := range shutdownChecks {
				if c.name == tc.check {
					expectFailure(t, func(tb testing.TB) {
						srv := running(startServer(tb, diskExport(), tc.fault), 300*time.Millisecond)
						srv.Patience = 3 * time.Second
						c.run(&suite{TB: tb, dial: srv.Dial, want: diskExport()}, srv)
					})
				}
			}
		})
	}
}

// recorder is a test that may fail without failing the one it stands in for.
type recorder struct {
	testing.TB
	mu       sync.Mutex // guards what follows
	failure  string
	cleanups []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) record(failure string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure == "" {
		r.failure = failure
	}
}

func (r *recorder) Error(args ...any)                 { r.record(fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.record(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }

// expectFailure runs a test that has to fail.
func expectFailure(t *testing.T, test func(testing.TB)) {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	for _, cleanup := range slices.Backward(r.cleanups) {
		cleanup()
	}
	if r.failure == "" {
		t.Error("nothing was found")
	}
	t.Log("found:", r.failure)
}
