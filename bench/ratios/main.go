// Command ratios reads what `go test -bench` printed and shows each figure of
// the engine as a share of the limit beneath it, measured in the same run. Rates
// depend on the machine; shares hardly do.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "ratios: name the file that holds the output of go test -bench; make bench does")
		os.Exit(2)
	}
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "ratios: %v\n", err)
		os.Exit(1)
	}
	fmt.Print(table(parse(string(data)))) //nolint:forbidigo // it is all that the program says
}
