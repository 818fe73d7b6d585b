// Package backingtest is the conformance suite for handlers.Backing. A package
// that implements one calls Run from a test:
//
//	func TestConformance(t *testing.T) {
//		backingtest.Run(t, func(t *testing.T, size int64) handlers.Backing {
//			return mymedium.New(size)
//		}, backingtest.Opts{})
//	}
//
// Run finds out which optional interfaces the Backing has and tests those too;
// what it lacks, and what it answers with handlers.ErrNotSupported, is not held
// against it. The parts are subtests, named after the rule they check:
//
//   - bounds.go: what isn't inside the medium is refused and changes nothing;
//   - basics.go: bytes come back as they were written, through every way of
//     writing and reading, and nothing is allocated on the way;
//   - space.go: holes, zeroes and the map of them;
//   - parallel.go: neighbours in one sector or page don't disturb each other;
//   - model.go: any sequence of operations behaves as on a slice of bytes.
//
// The suite is for tests only; nothing else imports it.
package backingtest
