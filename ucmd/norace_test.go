//go:build !race

package ucmd

const raceDepth = 0
