package interop

import (
	"os"
	"testing"

	"scstuser/internal/proc"
)

// TestWithRaceDetector runs loads with much concurrency against a server that
// reports data races, which it does by leaving with another status than 0.
func TestWithRaceDetector(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the server a second time")
	}
	if name := os.Getenv(serverEnv); name != "" {
		t.Skipf("%s=%s was not built with the race detector", serverEnv, name)
	}
	for _, arg := range []string{"--inline=true", "--inline=false"} {
		t.Run("fio "+arg, func(t *testing.T) {
			needTool(t, "fio")
			s := serveRaceDetecting(t, proc.Config{Files: []string{emptyImage(t, 32*mib)}, Args: []string{arg}})
			fioVerify(t, s, "--rw=randwrite", "--iodepth=16", "--numjobs=4",
				"--bssplit=4k/50:64k/50", "--blockalign=4k", "--size=8m", "--offset_increment=8m", "--fsync=64")
		})
		t.Run("model "+arg, func(t *testing.T) {
			image := randomImage(t, 16*mib)
			s := serveRaceDetecting(t, proc.Config{Files: []string{image}, Args: []string{arg}})
			modelRun(t, s, image, 512, 4)
		})
	}
}

// serveRaceDetecting is serve with the race detector in the server.
func serveRaceDetecting(t *testing.T, c proc.Config) *proc.Server {
	t.Helper()
	s := start(t, program(t, true), c)
	t.Cleanup(func() { stop(t, s) })
	return s
}
