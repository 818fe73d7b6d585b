//go:build !race

package fusenode

// raceEnabled says whether the race detector slows everything down.
const raceEnabled = false
