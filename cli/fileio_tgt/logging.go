package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// logSink is where the log goes: a file, or stderr if its path is empty.
type logSink struct {
	*logrus.Logger
	file *logFile // nil: stderr
}

// openLog makes the logger that cfg asks for.
func openLog(cfg *config, stderr io.Writer) (*logSink, error) {
	sink := &logSink{Logger: logrus.New()}
	sink.SetLevel(cfg.LogLevel)
	sink.SetFormatter(logFormatter(cfg.LogFormat))
	sink.SetOutput(stderr)
	if cfg.LogFile != "" {
		file, err := openLogFile(cfg.LogFile)
		if err != nil {
			return nil, err
		}
		sink.file = file
		sink.SetOutput(file)
	}
	return sink, nil
}

func logFormatter(format logFormat) logrus.Formatter {
	if format == logJSON {
		return &logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}
	}
	return &logrus.TextFormatter{FullTimestamp: true, TimestampFormat: "2006-01-02T15:04:05.000Z07:00"}
}

// Reopen opens the log file anew, after it was moved away. If that fails the
// open one stays in use.
func (s *logSink) Reopen() error {
	if s.file == nil {
		return nil
	}
	return s.file.reopen()
}

// Close closes the log file; what is logged afterwards is lost.
func (s *logSink) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.close()
}

// logFile is a file that is appended to and can be opened anew.
type logFile struct {
	path string

	mu sync.Mutex // guards f
	f  *os.File   // nil once closed
}

var _ io.Writer = (*logFile)(nil)

// openLogFile opens or creates the file.
func openLogFile(path string) (*logFile, error) {
	l := &logFile{path: path}
	if err := l.reopen(); err != nil {
		return nil, err
	}
	return l, nil
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return 0, os.ErrClosed
	}
	return l.f.Write(p)
}

func (l *logFile) reopen() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open the log file %s: %w", l.path, pathCause(err))
	}
	l.mu.Lock()
	old := l.f
	l.f = f
	l.mu.Unlock()
	if old != nil {
		// What was written has been: the file was opened for appending, and
		// nothing is buffered here.
		old.Close()
	}
	return nil
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// pathCause is what went wrong without the operation and the path that the os
// package puts in front, where the message names the path itself.
func pathCause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
