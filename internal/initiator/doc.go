// Package initiator is an initiator that does what lines of text say. NBD and a
// file have no task attributes, no task management and no slow answers, which
// many rules of the interface are about: tests have them from here, whatever
// language they are in and whichever process the host runs in. It is support for
// tests and is not linked into fileio_tgt.
//
// A program that is tested prints lines and reads the answers (Serve); a Go test
// has package nodehost do that with the host's process. Numbers are decimal but
// for the bytes of CDBs; commands and functions have a number ID that the test
// gives them:
//
//	attach NAME            begins a session with the device, LUN 7
//	attached               -> 1, or 0 if it was refused
//	submit ID Q N CDB...   a command of task attribute Q, with N bytes 'w' to write
//	hold ID ...            likewise, but its response is kept until "deliver ID"
//	deliver ID             delivers a response
//	outcome ID             -> STATUS KEY ASC ASCQ LENGTH FIRST, when it is over;
//	                          LENGTH bytes of data came, of which FIRST is the first
//	over ID                -> 1 if the command's response was made, else 0
//	tm ID FN TAG           a task management function; TAG is the ID of a command
//	tmover ID              -> its result, when it is over
//	events N               -> KEY ASC ASCQ of the Nth event that the session was told
//	detach                 ends the session
//	detached               -> 1 when it has ended, 0 if it can't
//	released               -> how many ucmds the device left when it was released,
//	                          -1 if that got stuck
//
// Each line is answered, with 1 and what stands behind the arrow, when it has
// been done; with 0 and a reason if it can't be done.
//
// # Goroutines and locks
//
// Lines are done one after the other, by whoever calls Do. The target's
// goroutines call the front end's methods: what they leave is behind a channel
// that they close, or, for events, under mu.
package initiator
