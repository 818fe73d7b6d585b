//go:build race

package nbd

// raceEnabled: with the race detector pools drop things at random, and
// memory is shadowed.
const raceEnabled = true
