// Package ldif reads and writes entries in the LDAP Data Interchange Format (RFC 2849), the form in which directories are
// copied from one server to another.
//
// The reader is strict: what the grammar does not allow is an error with the number of the line, never a guess. It
// streams, so a file may be larger than memory, and bounds what one entry may take. Of the format's two halves it reads
// the one with entries; records of changes belong to tools like ldapmodify. Values by URL are refused: a file must not
// make the reader open others.
//
// Start reading at [Reader.Next] and [Writer.Write].
package ldif

import "fmt"

// A Record is one entry.
type Record struct {
	Line       int // of its name, counted from 1; 0 when it was not read
	DN         string
	Attributes []Attribute // in the order of the file, each description once
}

// An Attribute is a description and its values, in the order of the file.
type Attribute struct {
	Name   string
	Values [][]byte
}

// A SyntaxError says on which line a file breaks which rule.
type SyntaxError struct {
	Line int
	Rule string
}

// Error names the line and the rule.
func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Rule) }

// Limits bound what one record may take. Zero fields mean the defaults.
type Limits struct {
	RecordBytes int // of its lines: 32 MiB, for a revocation list in base64
	Values      int // 200,000
}
