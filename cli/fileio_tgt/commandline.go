package main

import (
	"errors"
	"flag"

	"github.com/urfave/cli/v2"
)

// commandLine is what the flags of one run are read into.
type commandLine struct {
	cfg           *config
	files         []string // --file, in order
	help, version bool
	// given holds the long names of the options that were there.
	given map[string]bool
	// err is the first value that was refused. It waits here because the
	// flag package would wrap it in words of its own.
	err error
}

// newCommandLine returns a commandLine with every default in place.
func newCommandLine() *commandLine {
	return &commandLine{cfg: defaultConfig(), given: make(map[string]bool)}
}

// flags are the options in the form that urfave/cli takes.
func (l *commandLine) flags() []cli.Flag {
	flags := make([]cli.Flag, 0, len(options))
	for i := range options {
		flags = append(flags, &boundFlag{line: l, opt: &options[i], v: l.value(&options[i])})
	}
	return flags
}

// value is where an option's argument goes.
func (l *commandLine) value(opt *option) value {
	switch opt.name {
	case "file":
		return &listValue{p: &l.files}
	case "help":
		return switchValue{&l.help}
	case "version":
		return switchValue{&l.version}
	}
	return opt.bind(l.cfg)
}

// config is the outcome of a command line whose flags have been read. pairs
// are its remaining arguments.
func (l *commandLine) config(pairs []string) (*config, error) {
	if l.err != nil {
		return nil, l.err
	}
	var err error
	if l.cfg.Exports, err = exportsFrom(l.files, pairs); err != nil {
		return nil, err
	}
	l.cfg.resolve(l.given)
	if err := errors.Join(l.cfg.validate(), l.cfg.checkDevice(l.given), l.cfg.checkRecord(l.given)); err != nil {
		return nil, err
	}
	return l.cfg, nil
}

// boundFlag is one option on its way through urfave/cli and package flag. It
// shows cli the long name alone: the other spellings are registered with the
// same flag.Value, so that they mix freely (-f a --file b).
type boundFlag struct {
	line *commandLine
	opt  *option
	v    value
}

var _ cli.Flag = (*boundFlag)(nil)

// String implements cli.Flag.
func (f *boundFlag) String() string { return "--" + f.opt.name }

// Apply implements cli.Flag.
func (f *boundFlag) Apply(set *flag.FlagSet) error {
	for _, name := range f.opt.names() {
		set.Var(flagValue{f}, name, "")
	}
	return nil
}

// Names implements cli.Flag.
func (f *boundFlag) Names() []string { return []string{f.opt.name} }

// IsSet implements cli.Flag.
func (f *boundFlag) IsSet() bool { return f.line.given[f.opt.name] }

// flagValue is a boundFlag as package flag sees it.
type flagValue struct{ f *boundFlag }

// String implements flag.Value. The flag package also calls it on a zero one.
func (v flagValue) String() string {
	if v.f == nil {
		return ""
	}
	return v.f.v.String()
}

// Set implements flag.Value. It never fails: see commandLine.err.
func (v flagValue) Set(text string) error {
	line, opt := v.f.line, v.f.opt
	line.given[opt.name] = true
	if err := v.f.v.set(text); err != nil && line.err == nil {
		line.err = usagef("--%s %s: %v", opt.name, shellQuote(text), err)
	}
	return nil
}

// IsBoolFlag lets package flag accept the option without an argument.
func (v flagValue) IsBoolFlag() bool { return v.f.opt.isSwitch() }
