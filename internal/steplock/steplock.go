// Package steplock is a mutex at which a test can stop whoever is about to
// take it. The lifecycle explorer of package ucmd cuts the real code into
// steps there: where a lock is taken is exactly where the rest of the process
// can have come in between.
package steplock

import "sync"

// Mutex is a sync.Mutex.
type Mutex struct {
	sync.Mutex
	// Before, if not nil, is called before the lock is taken. It is set before
	// the lock is used, by tests only.
	Before func()
}

// Lock takes the lock.
func (m *Mutex) Lock() {
	if m.Before != nil {
		m.Before()
	}
	m.Mutex.Lock()
}
