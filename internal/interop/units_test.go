package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The units in packaging are what systemd takes: no word that it does not know,
// and a service that stays out of nearly everything.
func TestUnits(t *testing.T) {
	needTool(t, "systemd-analyze")
	bin := serverBin(t)
	dir := t.TempDir()
	for _, name := range []string{"fileio_tgt@.service", "fileio_tgt@.socket"} {
		text, err := os.ReadFile(filepath.Join("../../packaging", name))
		if err != nil {
			t.Fatal(err)
		}
		// systemd looks whether the program is there.
		unit := strings.ReplaceAll(string(text), "/usr/local/bin/fileio_tgt", bin)
		if err := os.WriteFile(filepath.Join(dir, strings.Replace(name, "@", "@disk", 1)), []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"fileio_tgt@disk.service", "fileio_tgt@disk.socket"} {
		cmd := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, name))
		out, err := cmd.CombinedOutput()
		// What it says about units of the system is not about ours.
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "fileio_tgt") {
				t.Errorf("%s: %s", name, line)
			}
		}
		if err != nil {
			t.Logf("%s: %v\n%s", name, err, out)
		}
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", filepath.Join(dir, "fileio_tgt@disk.service")).CombinedOutput()
	if err != nil {
		t.Errorf("it is not locked in well enough: %v\n%s", err, out)
	}
}
