// Command generate writes structs_gen.go and scst_user_abi.h into the current
// directory, which go generate makes that of package abi.
package main

import (
	"fmt"
	"os"

	"scstuser/ioctl/abi/internal/layout"
)

func main() {
	src, err := layout.GoSource()
	if err == nil {
		err = os.WriteFile("structs_gen.go", src, 0o644)
	}
	if err == nil {
		err = os.WriteFile("scst_user_abi.h", layout.Header(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}
