package interop

import (
	"path/filepath"
	"regexp"
	"testing"
)

// fromFile matches a system call that sent from a file.
var fromFile = regexp.MustCompile(`(?m)sendfile\(.*= [1-9][0-9]*$|sendfile resumed.*= [1-9][0-9]*$`)

// TestLongReadsAreSentFromThePageCache: long reads are, short ones are not, and
// nor is anything where that is switched off or there is no page cache; what comes is the image each time.
func TestLongReadsAreSentFromThePageCache(t *testing.T) {
	for _, tt := range []struct {
		name    string
		args    []string
		request string
		want    bool
	}{
		{"64 KiB", nil, "65536", true},
		{"256 KiB", nil, "262144", true},
		{"32 KiB", nil, "32768", false},
		{"32 KiB, asked for", []string{"--sendfile=32K"}, "32768", true},
		{"never", []string{"--sendfile=0"}, "262144", false},
		{"direct", []string{"--direct"}, "262144", false},
		{"in threads", []string{"--inline=false"}, "262144", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			needTool(t, "nbdcopy")
			image := randomImage(t, mib)
			s, log := tracedImage(t, image, []string{"-e", "trace=sendfile"}, tt.args...)
			to := filepath.Join(t.TempDir(), "copy")
			// Without extents: an image that has just been made may have none yet.
			run(t, "nbdcopy", "--no-extents", "--request-size="+tt.request, s.URI(""), to)
			sameFiles(t, to, image)
			stop(t, s)
			if got := fromFile.Match(content(t, log)); got != tt.want {
				t.Errorf("sent from the file: %v, want %v", got, tt.want)
			}
		})
	}
}
