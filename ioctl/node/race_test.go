//go:build race

package node

// raceEnabled says whether the race detector is at work.
const raceEnabled = true
