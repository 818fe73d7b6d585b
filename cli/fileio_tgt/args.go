package main

import "strings"

// splitShort rewrites what getopt accepts and package flag does not: one-letter
// options run together (-tr for -t -r) and with their argument attached (-b4096
// for -b 4096). Everything else stays as it is, and so does everything from the
// first argument that is no option.
func splitShort(args []string) []string {
	out := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" || len(arg) < 2 || arg[0] != '-' {
			return append(out, args[i:]...)
		}
		words := splitWord(arg)
		out = append(out, words...)
		if takesNext(words[len(words)-1]) && i+1 < len(args) {
			i++
			out = append(out, args[i])
		}
	}
	return out
}

// splitWord splits one word of one-letter options. A word that is something
// else, or has a letter that is no option, is returned whole: the parser then
// names it in its error as the user wrote it.
func splitWord(word string) []string {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if strings.HasPrefix(word, "--") || lookupOption(name) != nil {
		return []string{word}
	}
	var out []string
	for i := 1; i < len(word); i++ {
		opt := lookupOption(word[i : i+1])
		if opt == nil {
			return []string{word}
		}
		out = append(out, word[:1]+opt.short)
		if rest := word[i+1:]; !opt.isSwitch() && rest != "" {
			return append(out, rest)
		}
	}
	return out
}

// takesNext says that the argument of this option is the next word.
func takesNext(word string) bool {
	if word == "" || word[0] != '-' || strings.Contains(word, "=") {
		return false
	}
	opt := lookupOption(strings.TrimLeft(word, "-"))
	return opt != nil && !opt.isSwitch()
}
