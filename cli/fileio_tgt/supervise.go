package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/sirupsen/logrus"

	"scstuser/internal/systemd"
)

// serveFunc serves what cfg says. It calls ready once, when clients can
// connect, and returns when everything is released again: nil after
// served.Control.Shutdown, and ctx's error if ctx ended first.
type serveFunc func(ctx context.Context, cfg *config, log *logrus.Logger, ready func(served)) error

// environment is what a run takes from the process it is in.
type environment struct {
	stdout, stderr io.Writer
	serve          serveFunc
	signals        <-chan os.Signal
	stopSignals    func() // signals have their usual effect again
	exit           func(status int)
	notify         *systemd.Notifier // nil: there is no service manager
}

// newEnvironment is the environment of a real process. Signals are caught from
// here on.
func newEnvironment(stdout, stderr io.Writer, serve serveFunc) environment {
	// Room for a burst of SIGUSR1 that the loop has not read yet: signals
	// that find no room are dropped, and a SIGTERM must not be.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, handledSignals...)
	// Whoever reads our output may go away, and must not take the disks along:
	// writing to a closed pipe is an error from here on, not the end.
	signal.Ignore(syscall.SIGPIPE)
	notify, err := systemd.NewNotifier()
	if err != nil {
		fmt.Fprintf(stderr, "%s: the service manager can't be told anything: %s\n", programName, oneLine(err.Error()))
	}
	return environment{
		notify: notify,
		stdout: stdout, stderr: stderr, serve: serve,
		signals:     signals,
		stopSignals: func() { signal.Stop(signals) },
		exit:        os.Exit,
	}
}

// supervise serves cfg until a signal ends it: it opens the log, lets signals
// act on what serve makes, and tells the operator once clients can connect.
func supervise(ctx context.Context, cfg *config, env environment) (err error) {
	defer env.stopSignals()
	defer env.notify.Close()
	log, err := openLog(cfg, env.stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pid := &pidFile{path: cfg.PIDFile}
	ctl := &startControl{abort: func() { cancel(nil) }}
	svc := &service{log: log.Logger, notify: env.notify}
	loop := &signalLoop{
		log: log.Logger, ctl: ctl, service: svc, reopen: log.Reopen, drain: cfg.DrainTimeout,
		exit: func(status int) {
			_ = pid.remove() // the process ends now; nobody is left to tell
			env.exit(status)
		},
	}
	done, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- loop.run(env.signals, done) }()
	var watchdog sync.WaitGroup

	err = env.serve(ctx, cfg, log.Logger, func(s served) {
		ctl.set(s.Control)
		if err := announce(cfg, env.stdout, log.Logger, pid, s); err != nil {
			cancel(err)
			return
		}
		svc.ready(fmt.Sprintf("serving %s", plural(len(s.Exports), "export")))
		watchdog.Go(func() { svc.watchdog(ctl, done) })
	})

	close(done)
	watchdog.Wait()
	err = outcome(ctx, ctl, err, <-stopped)
	if err != nil && log.file != nil {
		log.Error(oneLine(err.Error())) // stderr gets it from main
	}
	return errors.Join(err, pid.remove())
}

// announce tells that clients can connect: to programs by the process ID file,
// to the operator by the banner.
func announce(cfg *config, stdout io.Writer, log *logrus.Logger, pid *pidFile, s served) error {
	for _, l := range s.Listeners {
		if exposed(l) && !cfg.authenticates() {
			log.WithField("address", l.Address).
				Warn("other hosts may be able to connect here, and there is no authentication")
		}
	}
	if err := pid.write(); err != nil {
		return err
	}
	return writeBanner(stdout, cfg, s)
}

// outcome decides with which error the run ends, from what serve and the
// shutdown returned.
func outcome(ctx context.Context, ctl *startControl, serveErr, shutdownErr error) error {
	cause := context.Cause(ctx)
	ours := cause != nil && !errors.Is(cause, context.Canceled)
	switch {
	case ours:
		return cause // announce failed, and serve was told to stop for it
	case errors.Is(serveErr, context.Canceled) && ctl.wasStopped():
		serveErr = nil // a signal during the start
	}
	if shutdownErr != nil {
		return fmt.Errorf("shut down: %w", shutdownErr)
	}
	return serveErr
}
