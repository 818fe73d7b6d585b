package main

import "runtime"

// The kernel gives a signal for the process to its first thread, if that has none
// pending, and wakes that one only. If it is in a system call that can't be
// interrupted (a disk hangs), SIGTERM would wait for the disk, and with it the
// shutdown. So no goroutine but main's, which waits for others, runs on the first
// thread.
func init() { runtime.LockOSThread() }
