//go:build race

package ucmd

// raceDepth is how many actions less the explorer tries with the race detector,
// which makes every step ten times as slow.
const raceDepth = 4
