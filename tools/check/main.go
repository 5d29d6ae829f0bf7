// Command check guards the rules of the house that a compiler does not know: which floor may import which, that every
// package says what it is for, that no two share a name, and that files and functions stay short enough to be read.
//
//	go run ./tools/check [folder]
//
// It prints one violation a line, "file:line: what, and what to do", and exits 1 when there is one, 2 when the tree
// cannot be read. The same rules run as a test of this package.
//
// Start reading at [rules]; house.go reads the tree they are applied to.
package main

import (
	"fmt"
	"os"
)

func main() {
	folder := "."
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	violations, err := check(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	for _, v := range violations {
		fmt.Println(v)
	}
	if len(violations) > 0 {
		os.Exit(1)
	}
}

// check applies all rules to the module that folder belongs to.
func check(folder string) ([]violation, error) {
	h, err := readHouse(folder)
	if err != nil {
		return nil, err
	}
	var found []violation
	for _, rule := range rules {
		found = append(found, rule(h)...)
	}
	return sorted(found), nil
}
