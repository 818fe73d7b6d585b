//go:build race

package client

// raceDetector is whether the race detector is on: it makes everything slower.
const raceDetector = true
